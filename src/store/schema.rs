//! The tables as diesel sees them. The truth is `migrations/`; a test compares the two.

diesel::table! {
    meta (name) {
        name -> Text,
        value -> Text,
    }
}

diesel::table! {
    partners (id) {
        id -> Binary,
        name -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    keys (id) {
        id -> Binary,
        kind -> Text,
        partner_id -> Nullable<Binary>,
        shop_id -> Nullable<Binary>,
        hash -> Binary,
        label -> Text,
        created_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    shops (id) {
        id -> Binary,
        partner_id -> Binary,
        body -> Text,
    }
}

diesel::table! {
    items (partner_id, item_id) {
        partner_id -> Binary,
        item_id -> Text,
        body -> Text,
    }
}

diesel::table! {
    shop_items (shop_id, item_id) {
        shop_id -> Binary,
        item_id -> Text,
        body -> Text,
    }
}

diesel::table! {
    drafts (id) {
        id -> Binary,
        partner_id -> Binary,
        customer_id -> Text,
        body -> Text,
        valid_until -> BigInt,
        created_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    orders (id) {
        id -> Binary,
        partner_id -> Binary,
        customer_id -> Text,
        shop_id -> Binary,
        number -> BigInt,
        placed -> Text,
        placed_hash -> Binary,
        total -> BigInt,
        currency -> Text,
        slot_at -> Nullable<BigInt>,
        status -> Text,
        reason -> Nullable<Text>,
        payment_status -> Text,
        authorized -> BigInt,
        captured -> BigInt,
        refunded -> BigInt,
        owed -> BigInt,
        stage -> Nullable<Text>,
        next_attempt_at -> Nullable<BigInt>,
        attempts -> Integer,
        errors -> Integer,
        crashes -> Integer,
        fence -> BigInt,
        leased_until -> Nullable<BigInt>,
        parked_at -> Nullable<BigInt>,
        deadline_at -> Nullable<BigInt>,
        ongoing -> Bool,
        version -> BigInt,
        created_at -> BigInt,
        closed_at -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
        details -> Text,
    }
}

diesel::table! {
    order_names (partner_id, customer_id, number, idempotency_key) {
        partner_id -> Binary,
        customer_id -> Text,
        number -> BigInt,
        idempotency_key -> Text,
        order_id -> Binary,
        nonce -> BigInt,
        fingerprint -> Binary,
        created_at -> BigInt,
        closed_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    order_events (position) {
        position -> BigInt,
        partner_id -> Binary,
        shop_id -> Binary,
        order_id -> Binary,
        version -> BigInt,
        kind -> Text,
        from_status -> Nullable<Text>,
        to_status -> Text,
        payment_status -> Text,
        actor -> Text,
        reason -> Nullable<Text>,
        at -> BigInt,
        elapsed_ms -> Nullable<BigInt>,
        data -> Text,
    }
}

diesel::table! {
    webhooks (id) {
        id -> Binary,
        partner_id -> Binary,
        shop_id -> Nullable<Binary>,
        url -> Text,
        kinds -> Nullable<Text>,
        secret -> Text,
        old_secret -> Nullable<Text>,
        old_secret_until -> Nullable<BigInt>,
        planned -> BigInt,
        created_at -> BigInt,
        disabled_at -> Nullable<BigInt>,
        disabled_why -> Nullable<Text>,
    }
}

diesel::table! {
    deliveries (id) {
        id -> Binary,
        webhook_id -> Binary,
        order_id -> Binary,
        version -> BigInt,
        kind -> Text,
        occurred_at -> BigInt,
        coalesced -> Integer,
        waiting_since -> BigInt,
        result -> Text,
        attempts -> Integer,
        next_attempt_at -> Nullable<BigInt>,
        give_up_at -> BigInt,
        attempted_at -> Nullable<BigInt>,
        status -> Nullable<Integer>,
        trouble -> Nullable<Text>,
    }
}

diesel::table! {
    users (id) {
        id -> Binary,
        name -> Text,
        password -> Nullable<Text>,
        roles -> Text,
        created_at -> BigInt,
        disabled_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    links (hash) {
        hash -> Binary,
        user_id -> Binary,
        created_at -> BigInt,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    sessions (hash) {
        hash -> Binary,
        id -> Binary,
        user_id -> Binary,
        address -> Text,
        agent -> Text,
        created_at -> BigInt,
        seen_at -> BigInt,
        revoked_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    login_failures (subject) {
        subject -> Text,
        failures -> Integer,
        last_at -> BigInt,
        locked_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    audit (position) {
        position -> BigInt,
        at -> BigInt,
        user_id -> Nullable<Binary>,
        user_name -> Text,
        action -> Text,
        subject -> Text,
        reason -> Nullable<Text>,
        outcome -> Text,
        detail -> Text,
        request_id -> Text,
    }
}

diesel::table! {
    saved_views (user_id, name) {
        user_id -> Binary,
        name -> Text,
        query -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    tablets (hash) {
        hash -> Binary,
        key_id -> Binary,
        address -> Text,
        agent -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    bulk_jobs (id) {
        id -> Binary,
        state -> Text,
        deed -> Text,
        lot -> Text,
        query -> Text,
        sieve -> Text,
        counted -> Text,
        total -> BigInt,
        place -> BigInt,
        done -> BigInt,
        refused -> BigInt,
        refusals -> Text,
        user_id -> Binary,
        user_name -> Text,
        reason -> Nullable<Text>,
        request_id -> Text,
        created_at -> BigInt,
        started_at -> Nullable<BigInt>,
        ended_at -> Nullable<BigInt>,
        stopped_by -> Nullable<Text>,
    }
}

diesel::table! {
    bulk_orders (job_id, place) {
        job_id -> Binary,
        place -> BigInt,
        ids -> Binary,
    }
}

diesel::table! {
    holds (subject) {
        subject -> Text,
        at -> BigInt,
        until_at -> BigInt,
        user_name -> Text,
        reason -> Nullable<Text>,
    }
}

diesel::table! {
    settlements (id) {
        id -> Binary,
        order_id -> Binary,
        version -> BigInt,
        event -> Text,
        amount -> BigInt,
        currency -> Text,
        evidence -> Text,
        state -> Text,
        said_by_id -> Binary,
        said_by -> Text,
        said_at -> BigInt,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<BigInt>,
    }
}

diesel::joinable!(deliveries -> webhooks (webhook_id));
diesel::allow_tables_to_appear_in_same_query!(orders, order_names, order_events, drafts);
diesel::allow_tables_to_appear_in_same_query!(webhooks, deliveries);
diesel::allow_tables_to_appear_in_same_query!(users, sessions, links);
diesel::joinable!(tablets -> keys (key_id));
diesel::allow_tables_to_appear_in_same_query!(tablets, keys);
