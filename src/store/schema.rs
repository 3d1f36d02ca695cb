//! The tables as diesel sees them. The truth is `migrations/`; a test compares the two.

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    meta (name) {
        name -> Text,
        value -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    partners (id) {
        id -> Id,
        name -> Text,
        created_at -> At,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    keys (id) {
        id -> Id,
        kind -> Text,
        partner_id -> Nullable<Id>,
        shop_id -> Nullable<Id>,
        hash -> Binary,
        label -> Text,
        created_at -> At,
        revoked_at -> Nullable<At>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    shops (id) {
        id -> Id,
        partner_id -> Id,
        body -> Document,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    items (partner_id, item_id) {
        partner_id -> Id,
        item_id -> Text,
        body -> Document,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    shop_items (shop_id, item_id) {
        shop_id -> Id,
        item_id -> Text,
        body -> Document,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    drafts (id) {
        id -> Id,
        partner_id -> Id,
        customer_id -> Text,
        body -> Document,
        valid_until -> At,
        created_at -> At,
        deleted_at -> Nullable<At>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    orders (id) {
        id -> Id,
        partner_id -> Id,
        customer_id -> Text,
        shop_id -> Id,
        number -> BigInt,
        placed -> Text,
        placed_hash -> Binary,
        total -> BigInt,
        currency -> Text,
        slot_at -> Nullable<At>,
        status -> Text,
        reason -> Nullable<Text>,
        payment_status -> Text,
        authorized -> BigInt,
        captured -> BigInt,
        refunded -> BigInt,
        owed -> BigInt,
        stage -> Nullable<Text>,
        next_attempt_at -> Nullable<At>,
        attempts -> Integer,
        errors -> Integer,
        crashes -> Integer,
        fence -> BigInt,
        leased_until -> Nullable<At>,
        parked_at -> Nullable<At>,
        deadline_at -> Nullable<At>,
        ongoing -> Bool,
        version -> BigInt,
        created_at -> At,
        closed_at -> Nullable<At>,
        deleted_at -> Nullable<At>,
        details -> Document,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    order_names (partner_id, customer_id, number, idempotency_key) {
        partner_id -> Id,
        customer_id -> Text,
        number -> BigInt,
        idempotency_key -> Text,
        order_id -> Id,
        nonce -> BigInt,
        fingerprint -> Binary,
        created_at -> At,
        closed_at -> Nullable<At>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    order_events (position) {
        position -> BigInt,
        partner_id -> Id,
        shop_id -> Id,
        order_id -> Id,
        version -> BigInt,
        kind -> Text,
        from_status -> Nullable<Text>,
        to_status -> Text,
        payment_status -> Text,
        actor -> Text,
        reason -> Nullable<Text>,
        at -> At,
        elapsed_ms -> Nullable<BigInt>,
        data -> Document,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    webhooks (id) {
        id -> Id,
        partner_id -> Id,
        shop_id -> Nullable<Id>,
        url -> Text,
        kinds -> Nullable<Document>,
        secret -> Text,
        old_secret -> Nullable<Text>,
        old_secret_until -> Nullable<At>,
        planned -> BigInt,
        created_at -> At,
        disabled_at -> Nullable<At>,
        disabled_why -> Nullable<Text>,
        older_secrets -> Nullable<Document>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    deliveries (id) {
        id -> Id,
        webhook_id -> Id,
        order_id -> Id,
        version -> BigInt,
        kind -> Text,
        occurred_at -> At,
        coalesced -> Integer,
        waiting_since -> At,
        result -> Text,
        attempts -> Integer,
        next_attempt_at -> Nullable<At>,
        give_up_at -> At,
        attempted_at -> Nullable<At>,
        status -> Nullable<Integer>,
        trouble -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    users (id) {
        id -> Id,
        name -> Text,
        password -> Nullable<Text>,
        roles -> Text,
        created_at -> At,
        disabled_at -> Nullable<At>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    links (hash) {
        hash -> Binary,
        user_id -> Id,
        created_at -> At,
        expires_at -> At,
        used_at -> Nullable<At>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    sessions (hash) {
        hash -> Binary,
        id -> Id,
        user_id -> Id,
        address -> Text,
        agent -> Text,
        created_at -> At,
        seen_at -> At,
        revoked_at -> Nullable<At>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    login_failures (subject) {
        subject -> Text,
        failures -> Integer,
        last_at -> At,
        locked_until -> Nullable<At>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    audit (position) {
        position -> BigInt,
        at -> At,
        user_id -> Nullable<Id>,
        user_name -> Text,
        action -> Text,
        subject -> Text,
        reason -> Nullable<Text>,
        outcome -> Text,
        detail -> Document,
        request_id -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    saved_views (user_id, name) {
        user_id -> Id,
        name -> Text,
        query -> Text,
        created_at -> At,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    tablets (hash) {
        hash -> Binary,
        key_id -> Id,
        address -> Text,
        agent -> Text,
        created_at -> At,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    bulk_jobs (id) {
        id -> Id,
        state -> Text,
        deed -> Document,
        lot -> Text,
        query -> Text,
        sieve -> Document,
        counted -> Document,
        total -> BigInt,
        place -> BigInt,
        done -> BigInt,
        refused -> BigInt,
        refusals -> Document,
        user_id -> Id,
        user_name -> Text,
        reason -> Nullable<Text>,
        request_id -> Text,
        created_at -> At,
        started_at -> Nullable<At>,
        ended_at -> Nullable<At>,
        stopped_by -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    bulk_orders (job_id, place) {
        job_id -> Id,
        place -> BigInt,
        ids -> Binary,
        versions -> Nullable<Binary>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    holds (subject) {
        subject -> Text,
        at -> At,
        until_at -> At,
        user_name -> Text,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    settlements (id) {
        id -> Id,
        order_id -> Id,
        version -> BigInt,
        event -> Document,
        amount -> BigInt,
        currency -> Text,
        evidence -> Text,
        state -> Text,
        said_by_id -> Id,
        said_by -> Text,
        said_at -> At,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<At>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{At, Document, Id};

    instances (id) {
        id -> Id,
        name -> Text,
        version -> Text,
        started_at -> At,
        seen_at -> At,
        report -> Document,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{Document, Id};

    shop_options (shop_id, option_id) {
        shop_id -> Id,
        option_id -> Text,
        body -> Document,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use super::super::sql::{Document, Id};

    calendars (owner_id) {
        owner_id -> Id,
        body -> Document,
    }
}

diesel::joinable!(deliveries -> webhooks (webhook_id));
diesel::allow_tables_to_appear_in_same_query!(orders, order_names, order_events, drafts);
diesel::allow_tables_to_appear_in_same_query!(webhooks, deliveries);
diesel::allow_tables_to_appear_in_same_query!(users, sessions, links);
diesel::joinable!(tablets -> keys (key_id));
diesel::allow_tables_to_appear_in_same_query!(tablets, keys);
