//! Who may use the console: users, their roles, their sessions, and how often somebody may guess.
//!
//! Secrets are random and shown once; only their hashes are kept, and a password's only by argon2id.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::Duration;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};
use uuid::Uuid;

use crate::order::{Hash, Instant};

/// What a user may do is the sum of its roles. What each may do stands in one table, in `web::console::actions`.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Role {
    /// Helps customers with their orders.
    Support,
    /// Moves money.
    Finance,
    /// Looks after shops, menus and the machinery.
    ShopOps,
    /// All of that, and users.
    Admin,
}

impl Role {
    /// The word that stands for this value everywhere outside Rust.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// The address at which a one-time link is followed, as people reach the console at `root`.
pub fn link(root: &str, secret: &str) -> String {
    format!("{}/console/enter/{secret}", root.trim_end_matches('/'))
}

/// Somebody who may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: Uuid,
    pub name: String,
    pub roles: Vec<Role>,
    pub created_at: Instant,
    pub disabled_at: Option<Instant>,
    /// Whether it has chosen a password.
    pub has_password: bool,
}

/// A browser that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Names it where it is shown. It opens nothing.
    pub id: Uuid,
    pub user_id: Uuid,
    pub address: String,
    /// What the browser called itself.
    pub agent: String,
    pub created_at: Instant,
    pub seen_at: Instant,
}

/// A tablet that is signed in to the board of a shop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tablet {
    /// The shop's key that it showed: it is signed in for as long as that is valid.
    pub key_id: Uuid,
    pub address: String,
    /// What its browser called itself.
    pub agent: String,
    pub created_at: Instant,
}

/// How long a session lasts.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Without a request.
    pub idle: Duration,
    /// In all.
    pub absolute: Duration,
}

impl Session {
    pub fn is_over(&self, lifetimes: Lifetimes, now: Instant) -> bool {
        now - self.seen_at >= lifetimes.idle || now - self.created_at >= lifetimes.absolute
    }
}

/// How long a one-time link can be followed.
pub const LINK_VALID: Duration = Duration::hours(24);
/// What a password must have at least, and may have at most, in characters.
pub const PASSWORD_LENGTH: std::ops::RangeInclusive<usize> = 12..=256;
/// What a name may have, in characters.
pub const NAME_LENGTH: std::ops::RangeInclusive<usize> = 2..=40;

/// Whether somebody can be called so: letters and digits without case, and `.`, `-`, `_`, `@`.
pub fn is_name(name: &str) -> bool {
    NAME_LENGTH.contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_@".contains(&b))
}

/// A new secret: 256 random bits, for a link or a session.
pub fn secret() -> String {
    URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// What is stored of a secret. It is random, so that it needs neither salt nor stretching.
pub fn hash(secret: &str) -> Hash {
    Hash::of_bytes(secret.as_bytes())
}

/// The token that a page's forms carry: whoever cannot read the page cannot send them.
pub fn form_token(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Hash::of_bytes(format!("lungo form {secret}").as_bytes()).0)
}

/// Hashes a password with argon2id. Takes tens of milliseconds and 19 MiB: never on a thread that answers requests.
pub fn hash_password(password: &str) -> String {
    let hash: PasswordHash = Argon2::default().hash_password(password.as_bytes()).expect("random bits, and a password");
    hash.to_string()
}

/// Whether this is the password of that hash. Without one it takes as long, and is not: time must not tell who exists.
pub fn is_password(password: &str, hash: Option<&str>) -> bool {
    static NOBODY: LazyLock<String> = LazyLock::new(|| hash_password(&secret()));
    let Ok(known) = PasswordHash::new(hash.unwrap_or(&NOBODY)) else { return false };
    Argon2::default().verify_password(password.as_bytes(), &known).is_ok() && hash.is_some()
}

/// Who tries a password. A browser in which its owner has logged in before is counted by itself (OWASP's device
/// cookies): otherwise an attacker who keeps guessing at a name bars its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Guesser {
    /// A browser that wants to log in under this name. `device` is what it shows of an earlier session, see [`device`].
    /// It counts only if that session was one of this user.
    Browser { name: String, address: String, device: Option<Hash> },
    /// An open session, of this id, whose user shows the password once more.
    Session(Uuid),
}

/// What a browser keeps of its session when that is over: the hash that the session is stored under. It shows that the
/// browser was let in once, and opens nothing.
pub fn device(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash(secret).0)
}

/// What a browser shows of an earlier session, if it has that form.
pub fn shown_device(text: &str) -> Option<Hash> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Hash)
}

/// How long a browser is known after its session was last used.
pub const DEVICE_KNOWN: Duration = Duration::days(30);

/// Whose failures are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guessed {
    /// One user's password, by browsers that are not known to be the user's.
    User,
    /// The password of a user, in one browser that is known to be the user's.
    Device,
    /// Anybody's, from one address: several people may share it.
    Address,
}

/// What the failures of an address are counted under. One customer of a provider has a whole IPv6 network of 64 bits: as
/// many addresses as it likes.
pub fn network_of(address: &str) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => {
            format!("{}/64", Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        _ => address.to_owned(),
    }
}

/// Failures are forgotten after so long without another.
pub const FORGOTTEN: Duration = Duration::hours(1);

/// How long nobody may try again after so many failures in a row: twice as long with each, at most a quarter of an
/// hour, so that nobody can lock an operator out for long.
pub fn lock(guessed: Guessed, failures: i32) -> Option<Duration> {
    let free = match guessed {
        Guessed::User | Guessed::Device => 4,
        Guessed::Address => 20,
    };
    let over = u32::try_from(failures - free).ok().filter(|over| *over > 0)?;
    Some(Duration::seconds((10_i64 << (over - 1).min(10)).min(15 * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::at;

    #[test]
    fn a_password_is_known_by_its_hash_only() {
        let hash = hash_password("correct horse");
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(!hash.contains("correct"));
        assert!(is_password("correct horse", Some(&hash)));
        assert!(!is_password("correct horse", None) && !is_password("correct hors", Some(&hash)));
        assert!(!is_password("x", Some("not a hash")));
        assert_ne!(hash, hash_password("correct horse"), "each has a salt of its own");
    }

    #[test]
    fn guessing_becomes_slow_and_nobody_is_locked_out_for_long() {
        assert_eq!(lock(Guessed::User, 4), None);
        assert_eq!(lock(Guessed::User, 5), Some(Duration::seconds(10)));
        assert_eq!(lock(Guessed::User, 6), Some(Duration::seconds(20)));
        assert_eq!(lock(Guessed::User, i32::MAX), Some(Duration::minutes(15)));
        assert_eq!((lock(Guessed::Address, 20), lock(Guessed::Address, 21)), (None, Some(Duration::seconds(10))));
    }

    #[test]
    fn an_ipv6_customer_is_one_guesser_whatever_address_it_takes() {
        assert_eq!(network_of("2001:db8:1:2:3:4:5:6"), network_of("2001:db8:1:2::9"));
        assert_ne!(network_of("2001:db8:1:2::9"), network_of("2001:db8:1:3::9"));
        assert_eq!((&*network_of("203.0.113.9"), &*network_of("unknown")), ("203.0.113.9", "unknown"));
    }

    #[test]
    fn a_device_is_read_as_it_was_written() {
        let secret = secret();
        assert_eq!(shown_device(&device(&secret)), Some(hash(&secret)));
        for garbage in ["", "x", &secret[1..], &"A".repeat(44)] {
            assert_eq!(shown_device(garbage), None, "{garbage}");
        }
    }

    #[test]
    fn a_session_ends_when_it_is_not_used_and_at_last() {
        let lifetimes = Lifetimes { idle: Duration::minutes(10), absolute: Duration::hours(1) };
        let session = |seen| Session {
            id: Uuid::nil(),
            user_id: Uuid::nil(),
            address: String::new(),
            agent: String::new(),
            created_at: at(0),
            seen_at: at(seen),
        };
        assert!(!session(0).is_over(lifetimes, at(599)) && session(0).is_over(lifetimes, at(600)));
        assert!(!session(3500).is_over(lifetimes, at(3599)) && session(3500).is_over(lifetimes, at(3600)));
    }

    #[test]
    fn names_are_plain() {
        assert!(is_name("ada.l@x-1"));
        for name in ["a", "Ada", "a b", "<b>", &"x".repeat(41)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
