//! Everything that can be wrong, once: a code for programs, a sentence for people, and what only the operator
//! is told. Nothing here knows HTTP; `web::problem` gives each class its status.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;
use strum::{Display, IntoStaticStr, VariantArray};

/// What kind of wrong a code is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Malformed,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    TooSlow,
    Conflict,
    Gone,
    PreconditionFailed,
    PreconditionRequired,
    TooLarge,
    UnsupportedMediaType,
    Unprocessable,
    TooMany,
    Internal,
    Unavailable,
}

macro_rules! codes {
    ($($code:ident $class:ident $retryable:literal $title:literal;)*) => {
        /// The machine-readable name of a problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Display, IntoStaticStr, VariantArray)]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        pub enum Code { $(#[doc = $title] $code),* }

        impl Code {
            pub const fn class(self) -> Class { match self { $(Code::$code => Class::$class),* } }
            /// Whether the same request may succeed later without being changed.
            pub const fn is_retryable(self) -> bool { match self { $(Code::$code => $retryable),* } }
            pub const fn title(self) -> &'static str { match self { $(Code::$code => $title),* } }
        }
    };
}

codes! {
    MalformedRequest     Malformed            false "The request cannot be read.";
    InvalidRequest       Malformed            false "The request does not have the documented form.";
    InvalidCursor        Malformed            false "The cursor was not made by this service for this list.";
    InvalidPosition      Malformed            false "The Lungo-Position is not one that this service gave.";
    InvalidSignature     Malformed            false "The signature is not valid.";
    Unauthenticated      Unauthenticated      false "A valid key is needed.";
    Forbidden            Forbidden            false "This key may not do that.";
    NotFound             NotFound             false "There is no such thing.";
    MethodNotAllowed     MethodNotAllowed     false "This resource does not have that method.";
    RequestTimeout       TooSlow              true  "The body did not arrive in time.";
    HistoryDiverged      Conflict             false "The database lost what this request had seen: read again.";
    SimilarOrderOngoing  Conflict             false "The customer already has this order.";
    OrderLimitExceeded   Conflict             true  "The customer already has as many ongoing orders as allowed.";
    PriceMismatch        Conflict             false "The stated total is not the present price.";
    ItemUnavailable      Conflict             true  "Something in the order is sold out.";
    ShopNotAccepting     Conflict             true  "The shop takes no orders now.";
    SlotFull             Conflict             true  "The requested pickup slot is full.";
    SlotTooSoon          Conflict             false "The order cannot be ready by the requested pickup slot.";
    DraftExpired         Conflict             false "The draft is no longer valid.";
    DraftConfirmed       Conflict             false "The draft was confirmed and is an order now.";
    TooLate              Conflict             false "It is too late for that.";
    NotPossible          Conflict             false "The present state does not allow that.";
    AlreadyExists        Conflict             false "That already exists.";
    CursorInvalid        Conflict             false "This database does not have (any more) the history this cursor points into: start again.";
    OrderDeleted         Gone                 false "The order was deleted.";
    StaleRevision        PreconditionFailed   false "The customer's orders have changed since that revision.";
    StaleVersion         PreconditionFailed   false "The order has changed since that version.";
    VersionRequired      PreconditionRequired false "The version that this was decided on is missing.";
    BodyTooLarge         TooLarge             false "The body is too large.";
    UnsupportedMediaType UnsupportedMediaType false "The body must be application/json.";
    IdempotencyKeyReused Unprocessable        false "The Idempotency-Key was used for another request.";
    Unprocessable        Unprocessable        false "The request is well formed but does not make sense.";
    TooManyRequests      TooMany              true  "Too many requests.";
    InternalError        Internal             true  "Something went wrong here.";
    Overloaded           Unavailable          true  "The service has more to do than it can: nothing was done.";
    OutcomeUnknown       Unavailable          true  "It is unknown whether this was done: repeat it with the same key.";
    DatabaseUnavailable  Unavailable          true  "The database cannot be reached: nothing was done.";
    NotReady             Unavailable          true  "The service is starting or stopping.";
}

/// One fault of a request body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer to the faulty value.
    pub pointer: String,
    pub code: Cow<'static, str>,
    pub detail: String,
}

impl Fault {
    pub fn new(pointer: impl Into<String>, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code: code.into(), detail: detail.into() }
    }
}

/// Members that the problems of some codes have beyond those of every problem. `web::problem::members` declares all
/// types that implement this, because the members' schemas are made from the same declaration.
pub trait Members: Serialize {
    /// The codes whose problems may have these members.
    const CODES: &'static [Code];
}

/// A failure on its way to the client: what it is told, and what only the log is told.
#[derive(Clone, Debug)]
pub struct Failure {
    pub code: Code,
    pub detail: Box<str>,
    pub faults: Vec<Fault>,
    members: serde_json::Map<String, serde_json::Value>,
    pub retry_after: Option<Duration>,
    /// The token of the place in the log at which this was decided, where it was decided at one.
    pub position: Option<Box<str>>,
    /// For the log, never for the client.
    pub cause: Option<Box<str>>,
}

impl Failure {
    pub fn new(code: Code, detail: impl Into<Box<str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            faults: Vec::new(),
            members: serde_json::Map::new(),
            retry_after: None,
            position: None,
            cause: None,
        }
    }

    /// Adds members to the answer, for example the present revision.
    pub fn with<M: Members>(mut self, members: M) -> Self {
        debug_assert!(M::CODES.contains(&self.code), "`{}` is not declared with these members", self.code);
        match serde_json::to_value(members).expect("plain data serialises") {
            serde_json::Value::Object(members) => self.members.extend(members),
            other => unreachable!("members are an object, not {other}"),
        }
        self
    }

    /// The members of the answer beyond those of every problem.
    pub fn members(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.members
    }

    pub fn faults(mut self, faults: Vec<Fault>) -> Self {
        self.faults = faults;
        self
    }

    pub fn because(mut self, cause: impl ToString) -> Self {
        self.cause = Some(cause.to_string().into());
        self
    }

    pub fn at(mut self, position: String) -> Self {
        self.position = Some(position.into());
        self
    }

    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Failure {}
