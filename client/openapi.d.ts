// Made from /openapi.json by `npm run types`; not to be changed by hand.

export interface paths {
    "/v1/drafts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Price a basket. The answer's id is the id of the order to be. */
        post: operations["createDraft"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/drafts/{order_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One draft. */
        get: operations["getDraft"];
        /** Replace what a draft holds, priced anew. */
        put: operations["putDraft"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/drafts/{order_id}/confirmation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Make the draft an order. Repeating it gives the same order, for ever. */
        put: operations["confirmDraft"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All transitions of the partner's orders, oldest first. None is skipped, none comes twice. */
        get: operations["listEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A customer's orders, newest first, by the immutable order in which they were created. */
        get: operations["listOrders"];
        put?: never;
        /** Create an order. It is durable once answered, and nobody else was asked: watch its status. */
        post: operations["createOrder"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders/ongoing": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A customer's ongoing orders, and how fresh that is. An error is never an empty list. */
        get: operations["getOngoingOrders"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders/{order_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** One order. */
        get: operations["getOrder"];
        put?: never;
        post?: never;
        /**
         * Remove an order from its customer's sight; while it is ongoing this cancels it first. A draft can be removed too.
         *     Its money may still be on its way back: `payment.status` tells.
         */
        delete: operations["deleteOrder"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders/{order_id}/arrival": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** The customer is here. The first report counts; it raises the order's priority. */
        post: operations["reportArrival"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders/{order_id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Cancel an order, until it is being made. Repeating it is safe. */
        post: operations["cancelOrder"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders/{order_id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** All that happened to an order, oldest first. */
        get: operations["getOrderEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders/{order_id}/pickup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        /** Replace how an ongoing order is picked up. Its time may differ only while the order is scheduled. */
        put: operations["putPickup"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/orders/{order_id}/why": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What an order waits for, in one sentence and a code. */
        get: operations["whyOrder"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/shops": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The partner's shops, and what each would say now to an order. */
        get: operations["listShops"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/shops/{shop_id}/menu": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What a shop sells, with present prices, availability and the shop's promise. */
        get: operations["getMenu"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** The partner's receivers. */
        get: operations["listWebhooks"];
        put?: never;
        /**
         * A new receiver. It is told of what happens from now on: each event by a POST of a `Notification`, signed by Standard
         *     Webhooks, at least once. The secret is in this answer and never again.
         */
        post: operations["createWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{webhook_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** A receiver. */
        get: operations["getWebhook"];
        /** Replaces where a receiver is, what it wants, and whether it is sent anything. */
        put: operations["putWebhook"];
        post?: never;
        /** Removes a receiver, with all that was on its way to it. */
        delete: operations["deleteWebhook"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{webhook_id}/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /** What is on its way to a receiver, and what became of the last 10,000 that were. */
        get: operations["listDeliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/resend": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sends one delivery again; one that waits is due now. A receiver that fails, or asked for time, is still left alone for
         *     as long as that: a minute, an hour at most.
         */
        post: operations["resendDelivery"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{webhook_id}/resend": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Sends the finished deliveries of a span of time again, as far as they are kept. Cut short, it may be said again. */
        post: operations["resendDeliveries"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/webhooks/{webhook_id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /** Gives a receiver a new secret, which is in this answer and never again. For a while deliveries carry two signatures. */
        post: operations["rotateWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /** @description What the customer must do for the bank (3-D Secure). */
        ActionView: {
            client_secret: string | null;
            /** @description `redirect`: send the customer to `url`. `use_stripe_sdk`: give `client_secret` to the gateway's library. */
            type: string;
            url: string | null;
        };
        /**
         * @description Who caused an event.
         * @enum {string}
         */
        Actor: "partner" | "worker" | "gateway" | "timer" | "shop" | "operator";
        /** @description That already exists. */
        AlreadyExistsProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "already_exists";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:already_exists";
        };
        /**
         * @description Day and night.
         * @enum {string}
         */
        Always: "always";
        /** @description The body is too large. */
        BodyTooLargeProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "body_too_large";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 413;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:body_too_large";
        };
        /**
         * @description Says that the customer wants the draft.
         * @example {
         *       "confirmed": true
         *     }
         */
        Confirmation: {
            confirmed: boolean;
        };
        /**
         * @description An order, with the total that the customer was shown.
         * @example {
         *       "customer_id": "cus_82f1",
         *       "lines": [
         *         {
         *           "item_id": "lungo",
         *           "options": [
         *             "milk_oat"
         *           ],
         *           "quantity": 2
         *         }
         *       ],
         *       "payment": {
         *         "method": "pm_card_visa"
         *       },
         *       "pickup": {
         *         "name": "Ada",
         *         "type": "counter"
         *       },
         *       "shop_id": "01970000-0000-7000-8000-000000000011",
         *       "total": {
         *         "amount": 820,
         *         "currency": "EUR"
         *       }
         *     }
         */
        CreateOrder: {
            /**
             * @description The partner's own name for its customer. Names are compared byte by byte: `Ada` and `ada` are two customers,
             *     and so are two Unicode forms of `é`.
             */
            customer_id: string;
            lines: components["schemas"]["LineRequest"][];
            metadata?: components["schemas"]["Metadata"] | null;
            on_unavailable?: components["schemas"]["OnUnavailable"] | null;
            payment: components["schemas"]["PaymentRequest"];
            pickup?: components["schemas"]["PickupRequest"] | null;
            /**
             * Format: uuid
             * @description An order that this one takes the place of. It is noted, not cancelled.
             */
            replaces_order_id?: string | null;
            /** Format: uuid */
            shop_id: string;
            total: components["schemas"]["Money"];
        };
        /**
         * Format: iso-4217
         * @description An ISO 4217 code.
         */
        Currency: string;
        /** @description This database does not have (any more) the history this cursor points into: start again. */
        CursorInvalidProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "cursor_invalid";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:cursor_invalid";
        };
        /** @description The database cannot be reached: nothing was done. */
        DatabaseUnavailableProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "database_unavailable";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 503;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:database_unavailable";
        };
        /** @description What is left of something that was deleted. */
        Deleted: {
            deleted_at: components["schemas"]["Timestamp"];
            /** Format: uuid */
            order_id: string;
            payment: components["schemas"]["DeletedPayment"];
        };
        /** @description Money may still be on its way back. */
        DeletedPayment: {
            status: components["schemas"]["PaymentStatus"];
        };
        /** @description Some of a receiver's deliveries. */
        DeliveryList: {
            /** @description The newest first. */
            deliveries: components["schemas"]["DeliveryView"][];
            /** @description Where to go on; null at the end. */
            next_cursor: string | null;
        };
        /**
         * @description Whether something is still on its way to a receiver.
         * @enum {string}
         */
        DeliveryResult: "pending" | "delivered" | "given_up";
        /** @description An event on its way to a receiver, or what became of it. */
        DeliveryView: {
            attempted_at: components["schemas"]["Timestamp"] | null;
            /** Format: int32 */
            attempts: number;
            /**
             * Format: int32
             * @description Older events of the order whose place this one took because they had not been sent yet.
             */
            coalesced: number;
            /** Format: uuid */
            delivery_id: string;
            event_id: string;
            /** @description After this it is not tried again. */
            give_up_at: components["schemas"]["Timestamp"];
            next_attempt_at: components["schemas"]["Timestamp"] | null;
            occurred_at: components["schemas"]["Timestamp"];
            /** Format: uuid */
            order_id: string;
            result: components["schemas"]["DeliveryResult"];
            /**
             * Format: int32
             * @description The HTTP status that the last attempt was answered with.
             */
            status: number | null;
            /** @description Why the last attempt was in vain. */
            trouble: string | null;
            type: components["schemas"]["EventKind"];
            /** Format: int64 */
            version: number;
        };
        /** @description The draft was confirmed and is an order now. */
        DraftConfirmedProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "draft_confirmed";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:draft_confirmed";
        };
        /** @description The draft is no longer valid. */
        DraftExpiredProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "draft_expired";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:draft_expired";
        };
        /**
         * @description A basket to be priced; with a total, it must be the present one.
         * @example {
         *       "customer_id": "cus_82f1",
         *       "lines": [
         *         {
         *           "item_id": "cappuccino",
         *           "options": [
         *             "milk_whole"
         *           ],
         *           "quantity": 1
         *         }
         *       ],
         *       "payment": {
         *         "method": "pm_card_visa"
         *       },
         *       "shop_id": "01970000-0000-7000-8000-000000000011"
         *     }
         */
        DraftOrder: {
            /**
             * @description The partner's own name for its customer. Names are compared byte by byte: `Ada` and `ada` are two customers,
             *     and so are two Unicode forms of `é`.
             */
            customer_id: string;
            lines: components["schemas"]["LineRequest"][];
            metadata?: components["schemas"]["Metadata"] | null;
            on_unavailable?: components["schemas"]["OnUnavailable"] | null;
            payment: components["schemas"]["PaymentRequest"];
            pickup?: components["schemas"]["PickupRequest"] | null;
            /**
             * Format: uuid
             * @description An order that this one takes the place of. It is noted, not cancelled.
             */
            replaces_order_id?: string | null;
            /** Format: uuid */
            shop_id: string;
            total?: components["schemas"]["Money"] | null;
        };
        /** @description An order to be. */
        DraftView: {
            /** @description It was confirmed: the order is at `/v1/orders/{order_id}`. */
            confirmed: boolean;
            created_at: components["schemas"]["Timestamp"];
            customer_id: string;
            lines: components["schemas"]["LineView"][];
            /**
             * Format: uuid
             * @description The id of the order that its confirmation makes.
             */
            order_id: string;
            pickup: components["schemas"]["PickupView"];
            /** Format: uuid */
            shop_id: string;
            /** @description The shop is bound to it until `valid_until`. */
            total: components["schemas"]["Money"];
            valid_until: components["schemas"]["Timestamp"];
        };
        /**
         * @description What happened to an order.
         * @enum {string}
         */
        EventKind: "created" | "payment_authorized" | "payment_action_required" | "payment_declined" | "payment_expired" | "payment_unavailable" | "payment_unknown" | "payment_hold_lost" | "order_damaged" | "slot_due" | "shop_accepted" | "shop_rejected" | "shop_timed_out" | "slot_missed" | "preparation_started" | "made" | "recalled" | "collected" | "not_collected" | "abandoned" | "customer_cancelled" | "shop_cancelled" | "force_completed" | "operator_cancelled" | "payment_prepared" | "payment_attempted" | "payment_unanswered" | "payment_captured" | "capture_refused" | "payment_voided" | "payment_refunded" | "refund_failed" | "payment_surfaced" | "payment_proven" | "operation_unanswered" | "refund_requested" | "refund_reduced" | "offered" | "pickup_changed" | "arrived" | "deleted" | "parked" | "retried" | "deadline_extended" | "offer_repeated" | "contradicted" | "found_begun" | "found_sold" | "found_undone";
        /** @description A page of the feed. */
        EventPage: {
            /**
             * @description Where to go on, now or later: nothing is ever inserted before it. It names the last event of this page: where
             *     another one stands there, because the database was restored from a backup, it is refused (`cursor_invalid`).
             */
            cursor: string;
            events: components["schemas"]["FeedEvent"][];
        };
        /** @description One entry of an order's history. */
        EventView: {
            actor: components["schemas"]["Actor"];
            at: components["schemas"]["Timestamp"];
            from: components["schemas"]["Status"] | null;
            payment_status: components["schemas"]["PaymentStatus"];
            reason: components["schemas"]["Reason"] | null;
            /** @description Equal to `from` if the event left the status as it was. */
            to: components["schemas"]["Status"];
            type: components["schemas"]["EventKind"];
            /** Format: int64 */
            version: number;
        };
        /** @description What holds on one date, on the shop's own clock, instead of the weekly hours. */
        Exception: {
            /**
             * Format: date
             * @example 2026-12-24
             */
            date: string;
            /** @description Those that begin on this date; empty for a closed day. */
            openings: components["schemas"]["Opening"][];
        };
        /** @description One fault of a request. */
        Fault: {
            code: string;
            detail: string;
            /** @description JSON pointer into the body; absent for a header, and for the body as a whole. */
            pointer?: string;
        };
        /** @description An event, and whose it is. */
        FeedEvent: components["schemas"]["EventView"] & {
            /** Format: uuid */
            order_id: string;
        };
        /** @description This key may not do that. */
        ForbiddenProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "forbidden";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 403;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:forbidden";
        };
        /** @description The database lost what this request had seen: read again. */
        HistoryDivergedProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "history_diverged";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description The customer's ongoing orders. */
            orders?: components["schemas"]["OrderView"][];
            /** @description The `Lungo-Position` to go on with instead of the one that was sent. */
            position?: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @description Send it as `If-Match` if the customer has seen these orders and wants another one. */
            revision?: string;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:history_diverged";
        };
        /** @description When a shop is open, on its own clock. */
        Hours: components["schemas"]["Always"] | components["schemas"]["WeeklyHours"];
        /** @description The Idempotency-Key was used for another request. */
        IdempotencyKeyReusedProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "idempotency_key_reused";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 422;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:idempotency_key_reused";
        };
        /** @description Something went wrong here. */
        InternalErrorProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "internal_error";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 500;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:internal_error";
        };
        /** @description The cursor was not made by this service for this list. */
        InvalidCursorProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "invalid_cursor";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 400;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:invalid_cursor";
        };
        /** @description The Lungo-Position is not one that this service gave. */
        InvalidPositionProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "invalid_position";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 400;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:invalid_position";
        };
        /** @description The request does not have the documented form. */
        InvalidRequestProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "invalid_request";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description All faults of the request at once. */
            errors?: components["schemas"]["Fault"][];
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 400;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:invalid_request";
        };
        /** @description The signature is not valid. */
        InvalidSignatureProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "invalid_signature";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 400;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:invalid_signature";
        };
        /** @description Something in the order is sold out. */
        ItemUnavailableProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "item_unavailable";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description All faults of the request at once. */
            errors: components["schemas"]["Fault"][];
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:item_unavailable";
        };
        /** @description One line of a basket. */
        LineRequest: {
            item_id: string;
            /** @description Option ids; the same one twice is two of it. */
            options?: components["schemas"]["OptionRequest"][] | null;
            /** Format: int32 */
            quantity: number;
        };
        /** @description A line as it was when the order was placed. */
        LineView: {
            /** @description Sold out, and left out with the customer's consent. */
            dropped: boolean;
            item_id: string;
            name: string;
            options: components["schemas"]["OptionView"][];
            /** @description For all of the line. */
            price: components["schemas"]["Money"];
            /** Format: int32 */
            quantity: number;
            /** @description For one drink with its options. */
            unit_price: components["schemas"]["Money"];
        };
        /** @description The request cannot be read. */
        MalformedRequestProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "malformed_request";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 400;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:malformed_request";
        };
        /** @description An item as one shop sells it now. */
        MenuItemView: {
            available: boolean;
            item_id: string;
            /**
             * Format: int32
             * @description How long one piece takes.
             */
            make_seconds: number;
            name: string;
            option_groups: components["schemas"]["OptionGroupView"][];
            price: components["schemas"]["Money"];
            sold_out_until: components["schemas"]["Timestamp"] | null;
        };
        /** @description A way to have an item. */
        MenuOptionView: {
            available: boolean;
            name: string;
            option_id: string;
            /** @description On top of the item's price, or off it if negative. No piece costs less than nothing. */
            price: components["schemas"]["SignedMoney"];
            sold_out_until: components["schemas"]["Timestamp"] | null;
        };
        /** @description What a shop sells, and what it promises now. */
        MenuView: {
            /** @description In the menu's order. */
            items: components["schemas"]["MenuItemView"][];
            shop: components["schemas"]["ShopView"];
        };
        /** @description The partner's own notes on the order: up to 20 texts. */
        Metadata: {
            [key: string]: string;
        };
        /** @description This resource does not have that method. */
        MethodNotAllowedProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "method_not_allowed";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 405;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:method_not_allowed";
        };
        /**
         * @description `open`; `busy`: everything takes longer; `paused`: no new orders.
         * @enum {string}
         */
        ModeName: "open" | "busy" | "paused";
        /** @description What the shop says about new orders for now. A mode that has ended is shown as `open`. */
        ModeView: {
            /**
             * Format: int32
             * @description Of a busy shop: what it adds to every wait.
             */
            minutes: number | null;
            mode: components["schemas"]["ModeName"];
            until: components["schemas"]["Timestamp"] | null;
        };
        /** @description An amount in minor units (cents) of a currency. */
        Money: {
            /** Format: int64 */
            amount: number;
            currency: components["schemas"]["Currency"];
        };
        /**
         * @description A receiver to be.
         * @example {
         *       "types": [
         *         "shop_accepted",
         *         "made",
         *         "collected"
         *       ],
         *       "url": "https://app.example/lungo"
         *     }
         */
        NewWebhook: {
            /** @description The types of events it wants; all if it is left out. */
            types?: components["schemas"]["EventKind"][] | null;
            /** @description https, with a host of the public Internet. */
            url: string;
        };
        /**
         * @description Why a shop takes no order.
         * @enum {string}
         */
        NotAccepting: "closed" | "last_order" | "paused" | "offline" | "full";
        /** @description There is no such thing. */
        NotFoundProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "not_found";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 404;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:not_found";
        };
        /** @description The present state does not allow that. */
        NotPossibleProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "not_possible";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description The order's present status. */
            order_status?: components["schemas"]["Status"];
            payment_status?: components["schemas"]["PaymentStatus"];
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:not_possible";
            /**
             * Format: int64
             * @description The order's present version, for `If-Match`.
             */
            version?: number;
        };
        /** @description The service is starting or stopping. */
        NotReadyProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "not_ready";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 503;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:not_ready";
        };
        /**
         * @description Something happened to an order: what a partner's receiver reads. The newest event stands for older ones of the same
         *     order that were not sent in time.
         */
        Notification: {
            /**
             * @description The same each time this event is sent; also in the header `webhook-id`.
             * @example evt_01970000000070008000000000000099_3_19b8d3f2c00
             */
            event_id: string;
            occurred_at: components["schemas"]["Timestamp"];
            order: components["schemas"]["OrderView"] | null;
            /** Format: uuid */
            order_id: string;
            type: components["schemas"]["EventKind"];
            /**
             * Format: int64
             * @description The version of the order that this event made. Events may come late, twice or out of order: what is below the
             *     highest version seen of an order is old.
             */
            version: number;
        };
        /**
         * @description What the customer wants when a line is sold out.
         * @enum {string}
         */
        OnUnavailable: "cancel" | "remove_line";
        /** @description A customer's present orders. */
        OngoingOrders: {
            /** @description Everything committed until then is in this answer. */
            as_of: components["schemas"]["Timestamp"];
            /** @description Never more than the limit on ongoing orders, and therefore never paged. */
            orders: components["schemas"]["OrderView"][];
            /** @description What ended within the last 10 minutes, newest first, at most 10. */
            recently_closed: components["schemas"]["OrderView"][];
            /** @description Send it as `If-Match` to order again although these orders exist. */
            revision: string;
            source: string;
        };
        /** @description From `open` to `close`; a `close` that is not after `open` is on the next day. */
        Opening: {
            /** @example 18:00 */
            close: string;
            /** @example 07:00 */
            open: string;
        };
        /**
         * @description Options of which at least `min` and at most `max` are chosen. An order names an option once for each time that it is
         *     wanted.
         */
        OptionGroupView: {
            group_id: string;
            /** Format: int32 */
            max: number;
            /** Format: int32 */
            min: number;
            name: string;
            options: components["schemas"]["MenuOptionView"][];
        };
        /** @description The id of an option. */
        OptionRequest: string;
        /** @description An option as it was when the order was placed. */
        OptionView: {
            name: string;
            option_id: string;
            /** @description For one drink; negative for what is taken off its price. */
            price: components["schemas"]["SignedMoney"];
        };
        /** @description The order was deleted. */
        OrderDeletedProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "order_deleted";
            deleted_at: components["schemas"]["Timestamp"];
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** Format: uuid */
            order_id: string;
            payment: components["schemas"]["DeletedPayment"];
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 410;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:order_deleted";
        };
        /** @description What happened to an order. */
        OrderEvents: {
            /** @description At most 1,000, the oldest first. */
            events: components["schemas"]["EventView"][];
            /** @description There are more: ask again with the last version as `after`. */
            truncated: boolean;
        };
        /** @description The customer already has as many ongoing orders as allowed. */
        OrderLimitExceededProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "order_limit_exceeded";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /**
             * Format: int32
             * @description How many ongoing orders a customer may have.
             */
            limit: number;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:order_limit_exceeded";
        };
        /** @description A page of a customer's orders. */
        OrderPage: {
            /** @description Where to go on; an empty page means that there is nothing more. */
            cursor: string;
            orders: components["schemas"]["OrderView"][];
        };
        /** @description An order, for its partner. */
        OrderView: {
            allowed_actions: components["schemas"]["PartnerAction"][];
            /** @description The total less the lines that were dropped. */
            amount_due: components["schemas"]["Money"];
            arrived_at: components["schemas"]["Timestamp"] | null;
            closed_at: components["schemas"]["Timestamp"] | null;
            created_at: components["schemas"]["Timestamp"];
            customer_id: string;
            lines: components["schemas"]["LineView"][];
            metadata: {
                [key: string]: string;
            };
            next_poll_at: components["schemas"]["Timestamp"] | null;
            on_unavailable: components["schemas"]["OnUnavailable"];
            /** @description Whether getOngoingOrders returns it. */
            ongoing: boolean;
            /** Format: uuid */
            order_id: string;
            payment: components["schemas"]["PaymentView"];
            pickup: components["schemas"]["PickupView"];
            progress: components["schemas"]["Progress"];
            promise_at: components["schemas"]["Timestamp"] | null;
            reason: components["schemas"]["ReasonView"] | null;
            /** Format: uuid */
            replaces_order_id: string | null;
            /** @description The customer's present revision; absent where the list around the order says it. */
            revision?: string | null;
            /** Format: uuid */
            shop_id: string;
            /**
             * @description What the shop's ticket shows and the barista calls, beside `pickup.name`: short, and not unique for ever.
             * @example BEEF
             */
            short_code: string;
            status: components["schemas"]["Status"];
            /** @description As it was ordered. */
            total: components["schemas"]["Money"];
            updated_at: components["schemas"]["Timestamp"];
            /**
             * Format: int64
             * @description Raised by every change; the order's ETag.
             */
            version: number;
        };
        /** @description It is unknown whether this was done: repeat it with the same key. */
        OutcomeUnknownProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "outcome_unknown";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 503;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:outcome_unknown";
        };
        /** @description The service has more to do than it can: nothing was done. */
        OverloadedProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "overloaded";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 503;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:overloaded";
        };
        /**
         * @description What the partner may do with an order now.
         * @enum {string}
         */
        PartnerAction: "cancel" | "update_pickup" | "report_arrival" | "delete";
        /** @description How it is paid. */
        PaymentRequest: {
            /** @description The gateway's own name for a card or wallet. */
            method: string;
        };
        /**
         * @description Where the money of an order is.
         * @enum {string}
         */
        PaymentStatus: "none" | "authorizing" | "action_required" | "authorized" | "declined" | "unknown" | "voided" | "captured" | "capture_failed" | "partially_refunded" | "refunded";
        /** @description Where the money is. */
        PaymentView: {
            action: components["schemas"]["ActionView"] | null;
            authorized: components["schemas"]["Money"];
            captured: components["schemas"]["Money"];
            /** @description Must still go back to the customer. */
            owed: components["schemas"]["Money"];
            pending_operation: components["schemas"]["PendingOperationView"] | null;
            refunded: components["schemas"]["Money"];
            /** @description Why the gateway refused. */
            refusal: string | null;
            status: components["schemas"]["PaymentStatus"];
        };
        /** @description A capture, void or refund whose answer is missing. */
        PendingOperationView: {
            amount: components["schemas"]["Money"];
            /** @description `capture`, `void` or `refund`. */
            operation: string;
            since_at: components["schemas"]["Timestamp"];
        };
        /**
         * @description Where and when the customer picks the order up.
         * @example {
         *       "name": "Ada",
         *       "type": "curbside",
         *       "vehicle": "red van"
         *     }
         */
        PickupRequest: {
            /**
             * Format: date-time
             * @description The wanted time; absent or null for as soon as possible.
             */
            at?: string | null;
            /**
             * @description The name that is called out when the order is ready. White space around it is cut off, and something
             *     of it has to be visible.
             * @example Ada
             */
            name?: string | null;
            /** @description Lines are stored with a line feed at their ends, whatever the client ends them with. */
            note?: string | null;
            type?: components["schemas"]["PickupType"] | null;
            vehicle?: string | null;
        };
        /**
         * @description How the customer gets the order.
         * @enum {string}
         */
        PickupType: "counter" | "curbside";
        /** @description Where and when the customer picks the order up; `at` is null for as soon as possible. */
        PickupView: {
            at: components["schemas"]["Timestamp"] | null;
            /** @description What to call out when it is ready. */
            name: string | null;
            note: string | null;
            type: components["schemas"]["PickupType"];
            vehicle: string | null;
        };
        /**
         * @description What the heartbeats say about a shop; `unknown` while none is expected.
         * @enum {string}
         */
        Presence: "unknown" | "online" | "late" | "offline";
        /** @description The stated total is not the present price. */
        PriceMismatchProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "price_mismatch";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description What the order costs now. */
            present_total: components["schemas"]["Money"];
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:price_mismatch";
        };
        /** @description A problem of any code (RFC 9457). Treat one of an unknown code by its `status`. */
        Problem: components["schemas"]["MalformedRequestProblem"] | components["schemas"]["InvalidRequestProblem"] | components["schemas"]["InvalidCursorProblem"] | components["schemas"]["InvalidPositionProblem"] | components["schemas"]["InvalidSignatureProblem"] | components["schemas"]["UnauthenticatedProblem"] | components["schemas"]["ForbiddenProblem"] | components["schemas"]["NotFoundProblem"] | components["schemas"]["MethodNotAllowedProblem"] | components["schemas"]["RequestTimeoutProblem"] | components["schemas"]["HistoryDivergedProblem"] | components["schemas"]["SimilarOrderOngoingProblem"] | components["schemas"]["OrderLimitExceededProblem"] | components["schemas"]["PriceMismatchProblem"] | components["schemas"]["ItemUnavailableProblem"] | components["schemas"]["ShopNotAcceptingProblem"] | components["schemas"]["SlotFullProblem"] | components["schemas"]["SlotTooSoonProblem"] | components["schemas"]["DraftExpiredProblem"] | components["schemas"]["DraftConfirmedProblem"] | components["schemas"]["TooLateProblem"] | components["schemas"]["NotPossibleProblem"] | components["schemas"]["AlreadyExistsProblem"] | components["schemas"]["CursorInvalidProblem"] | components["schemas"]["OrderDeletedProblem"] | components["schemas"]["StaleRevisionProblem"] | components["schemas"]["StaleVersionProblem"] | components["schemas"]["VersionRequiredProblem"] | components["schemas"]["BodyTooLargeProblem"] | components["schemas"]["UnsupportedMediaTypeProblem"] | components["schemas"]["IdempotencyKeyReusedProblem"] | components["schemas"]["UnprocessableProblem"] | components["schemas"]["TooManyRequestsProblem"] | components["schemas"]["InternalErrorProblem"] | components["schemas"]["OverloadedProblem"] | components["schemas"]["OutcomeUnknownProblem"] | components["schemas"]["DatabaseUnavailableProblem"] | components["schemas"]["NotReadyProblem"];
        /** @description How far an order is. Only a terminal status means failure. */
        Progress: {
            expected_ready_at: components["schemas"]["Timestamp"] | null;
            expected_ready_latest_at: components["schemas"]["Timestamp"] | null;
            /** @description It stands in its status longer than 95 of 100 such orders do. */
            late: boolean;
            /**
             * Format: int32
             * @description Never goes back but once, to 99, by a recall; 100 only when the order is ready.
             */
            percent: number | null;
        };
        /**
         * @description Why an order failed, was rejected, cancelled or not collected.
         * @enum {string}
         */
        Reason: "payment_declined" | "payment_action_expired" | "payment_outcome_unknown" | "payment_provider_unavailable" | "payment_hold_lost" | "internal_error" | "item_unavailable" | "shop_closed" | "shop_paused" | "shop_too_busy" | "shop_unreachable" | "acceptance_timeout" | "cannot_fulfil_request" | "customer_request" | "duplicate_order" | "equipment_failure" | "not_prepared" | "slot_missed" | "operator_request" | "no_show" | "auto_closed" | "history_lost";
        /** @description Why an order ended as it did. */
        ReasonView: {
            actor: components["schemas"]["Actor"] | null;
            code: components["schemas"]["Reason"];
            /** @description Whether the same order may succeed when the customer tries again. */
            retryable: boolean;
        };
        /** @description The body did not arrive in time. */
        RequestTimeoutProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "request_timeout";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 408;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:request_timeout";
        };
        /**
         * @description Which deliveries are sent again: of events from one moment on until before another.
         * @example {
         *       "from_at": "2026-01-02T03:00:00Z",
         *       "only_failed": true,
         *       "until_at": "2026-01-02T04:00:00Z"
         *     }
         */
        ResendRange: {
            /** Format: date-time */
            from_at: string;
            /** @description Only what was given up; not by default. */
            only_failed?: boolean | null;
            /** Format: date-time */
            until_at: string;
        };
        /** @description How many deliveries are on their way again. */
        Resent: {
            deliveries: number;
        };
        /**
         * @description How the secret is replaced; it may be left out, and so may the body.
         * @example {
         *       "keep_old_minutes": 60
         *     }
         */
        RotateSecret: {
            /**
             * Format: int32
             * @description How long the present secret signs as well: 0 to 10080; a day by default. Those before it sign until their own time
             *     is over, so a rotation may be repeated at once. At most 10 sign besides the new one.
             */
            keep_old_minutes?: number | null;
        };
        /** @description A receiver with its secret, which is never shown again. */
        SecretWebhookView: components["schemas"]["WebhookView"] & {
            /**
             * @description What each delivery is signed with, by Standard Webhooks.
             * @example whsec_…
             */
            secret: string;
        };
        /** @description The partner's shops. */
        ShopList: {
            /** @description By name. */
            shops: components["schemas"]["ShopView"][];
        };
        /** @description The shop takes no orders now. */
        ShopNotAcceptingProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "shop_not_accepting";
            /** @description What is wrong with this request, for people. */
            detail: string;
            earliest_at: components["schemas"]["Timestamp"] | null;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            resume_at: components["schemas"]["Timestamp"] | null;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:shop_not_accepting";
            why: components["schemas"]["NotAccepting"];
        };
        /** @description A shop, and what it would say now to an order for as soon as possible. */
        ShopView: {
            accepting: boolean;
            /** @description Of all prices at this shop. */
            currency: components["schemas"]["Currency"];
            /** @description From today on: dates on which other hours hold, of this shop and of all its partner's. */
            exceptions: components["schemas"]["Exception"][];
            /**
             * Format: int32
             * @description From now until an average order is ready, if it were taken now.
             */
            expected_wait_seconds: number;
            hours: components["schemas"]["Hours"];
            mode: components["schemas"]["ModeView"];
            name: string;
            presence: components["schemas"]["Presence"];
            resume_at: components["schemas"]["Timestamp"] | null;
            /** Format: uuid */
            shop_id: string;
            /**
             * @description By its IANA name.
             * @example Europe/Berlin
             */
            timezone: string;
            /** @description Whether the shop says when it starts, finishes and hands over; otherwise the clock does. */
            tracks_steps: boolean;
            why: components["schemas"]["NotAccepting"] | null;
        };
        /** @description An amount in minor units (cents) of a currency, which may be negative. */
        SignedMoney: {
            /** Format: int64 */
            amount: number;
            currency: components["schemas"]["Currency"];
        };
        /** @description The customer already has this order. */
        SimilarOrderOngoingProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "similar_order_ongoing";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description The order that the customer already has. */
            order: components["schemas"]["OrderView"];
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @description Send it as `If-Match` if the customer has seen that order and wants another one. */
            revision: string;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:similar_order_ongoing";
        };
        /** @description The requested pickup slot is full. */
        SlotFullProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "slot_full";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:slot_full";
        };
        /** @description The order cannot be ready by the requested pickup slot. */
        SlotTooSoonProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "slot_too_soon";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The first pickup slot that this basket can have. */
            earliest_at: components["schemas"]["Timestamp"];
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:slot_too_soon";
        };
        /** @description The customer's orders have changed since that revision. */
        StaleRevisionProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "stale_revision";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description The customer's ongoing orders. */
            orders: components["schemas"]["OrderView"][];
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @description Send it as `If-Match` if the customer has seen these orders and wants another one. */
            revision: string;
            /** @constant */
            status: 412;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:stale_revision";
        };
        /** @description The order has changed since that version. */
        StaleVersionProblem: {
            /** @description What happened to the order since the version that was sent, the oldest first, at most 20. */
            changes?: components["schemas"]["EventKind"][];
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "stale_version";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description The order's present status. */
            order_status: components["schemas"]["Status"];
            payment_status: components["schemas"]["PaymentStatus"];
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 412;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:stale_version";
            /**
             * Format: int64
             * @description The order's present version, for `If-Match`.
             */
            version: number;
        };
        /**
         * @description What the customer and the shop see of an order.
         * @enum {string}
         */
        Status: "new" | "action_required" | "scheduled" | "awaiting_shop" | "accepted" | "preparing" | "ready" | "completed" | "rejected" | "failed" | "cancelled" | "not_collected";
        /** Format: date-time */
        Timestamp: string;
        /** @description It is too late for that. */
        TooLateProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "too_late";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description The order's present status. */
            order_status: components["schemas"]["Status"];
            payment_status: components["schemas"]["PaymentStatus"];
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 409;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:too_late";
            /**
             * Format: int64
             * @description The order's present version, for `If-Match`.
             */
            version: number;
        };
        /** @description Too many requests. */
        TooManyRequestsProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "too_many_requests";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `true` here. */
            retryable: boolean;
            /** @constant */
            status: 429;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:too_many_requests";
        };
        /** @description A valid key is needed. */
        UnauthenticatedProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "unauthenticated";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 401;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:unauthenticated";
        };
        /** @description The request is well formed but does not make sense. */
        UnprocessableProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "unprocessable";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description All faults of the request at once. */
            errors?: components["schemas"]["Fault"][];
            /** @description The path of the request. */
            instance: string;
            /** @description The present status of the order that the request contradicts. */
            order_status?: components["schemas"]["Status"];
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 422;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:unprocessable";
        };
        /** @description The body must be application/json. */
        UnsupportedMediaTypeProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "unsupported_media_type";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 415;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:unsupported_media_type";
        };
        /** @description The version that this was decided on is missing. */
        VersionRequiredProblem: {
            /**
             * @description discriminator enum property added by openapi-typescript
             * @enum {string}
             */
            code: "version_required";
            /** @description What is wrong with this request, for people. */
            detail: string;
            /** @description The path of the request. */
            instance: string;
            /** @description Under which the log has this request. */
            request_id: string;
            /** @description Whether the same request may succeed later without being changed. Always `false` here. */
            retryable: boolean;
            /** @constant */
            status: 428;
            /** @description The same words for each problem of this code. */
            title: string;
            /** @constant */
            type: "urn:lungo:problem:version_required";
        };
        /**
         * @description What an order waits for.
         * @enum {string}
         */
        Waits: "payment_authorization" | "payment_retry" | "payment_outcome" | "customer_at_bank" | "pickup_time" | "offer_to_shop" | "shop_decision" | "shop_start" | "shop_making" | "collection" | "capture" | "money_back" | "last_look" | "operator" | "nothing";
        /** @description Receivers, the oldest first. */
        WebhookList: {
            webhooks: components["schemas"]["WebhookView"][];
        };
        /**
         * @description A receiver as it is to be. What is left out has its default.
         * @example {
         *       "enabled": true,
         *       "url": "https://app.example/lungo"
         *     }
         */
        WebhookSettings: {
            /**
             * @description Whether it is sent anything; it is by default. Switched on again it is told what happened meanwhile, as far as
             *     that is not too old.
             */
            enabled?: boolean | null;
            /** @description The types of events it wants; all if it is left out. */
            types?: components["schemas"]["EventKind"][] | null;
            /** @description https, with a host of the public Internet. */
            url: string;
        };
        /** @description A receiver of webhooks. Its secret was shown when it was made. */
        WebhookView: {
            created_at: components["schemas"]["Timestamp"];
            disabled_at: components["schemas"]["Timestamp"] | null;
            disabled_why: string | null;
            enabled: boolean;
            old_secret_until: components["schemas"]["Timestamp"] | null;
            /** Format: uuid */
            partner_id: string;
            /**
             * Format: uuid
             * @description The shop whose orders are offered there; null for a receiver of the partner's events.
             */
            shop_id: string | null;
            /** @description The types of events it wants; null for all. */
            types: components["schemas"]["EventKind"][] | null;
            url: string;
            /** Format: uuid */
            webhook_id: string;
        };
        /** @description The openings of each weekday; a day without any is a closed day. */
        Week: {
            /** @default [] */
            friday: components["schemas"]["Opening"][];
            /** @default [] */
            monday: components["schemas"]["Opening"][];
            /** @default [] */
            saturday: components["schemas"]["Opening"][];
            /** @default [] */
            sunday: components["schemas"]["Opening"][];
            /** @default [] */
            thursday: components["schemas"]["Opening"][];
            /** @default [] */
            tuesday: components["schemas"]["Opening"][];
            /** @default [] */
            wednesday: components["schemas"]["Opening"][];
        };
        /** @description The same hours each week. */
        WeeklyHours: {
            weekly: components["schemas"]["Week"];
        };
        /** @description Why an order stands where it stands. */
        WhyView: {
            /**
             * Format: int32
             * @description How often it was tried in this stage.
             */
            attempts: number;
            code: components["schemas"]["Waits"];
            deadline_at: components["schemas"]["Timestamp"] | null;
            next_attempt_at: components["schemas"]["Timestamp"] | null;
            /** Format: uuid */
            order_id: string;
            sentence: string;
            since: components["schemas"]["Timestamp"];
            status: components["schemas"]["Status"];
            /** @description What would carry it on. */
            unblocked_by: string;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    createDraft: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DraftOrder"];
            };
        };
        responses: {
            /** @description Priced. */
            201: {
                headers: {
                    Location?: string;
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DraftView"];
                };
            };
        };
    };
    getDraft: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The draft. */
            200: {
                headers: {
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DraftView"];
                };
            };
        };
    };
    putDraft: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["DraftOrder"];
            };
        };
        responses: {
            /** @description Replaced. */
            200: {
                headers: {
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DraftView"];
                };
            };
        };
    };
    confirmDraft: {
        parameters: {
            query?: never;
            header?: {
                /** @description The `revision`, in quotes, of the list that the customer has seen. A weak tag says the same. */
                "If-Match"?: string;
            };
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Confirmation"];
            };
        };
        responses: {
            /** @description The order. */
            202: {
                headers: {
                    ETag?: string;
                    Location?: string;
                    "Lungo-Position"?: string;
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderView"];
                };
            };
        };
    };
    listEvents: {
        parameters: {
            query?: {
                /** @description From the page before; none to begin with the oldest event. */
                cursor?: string;
                /** @description At most so many; 20 if it is not said. */
                limit?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page; an empty one means that nothing more has happened yet. */
            200: {
                headers: {
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["EventPage"];
                };
            };
        };
    };
    listOrders: {
        parameters: {
            query: {
                customer_id: string;
                /** @description From the page before; none for the newest. */
                cursor?: string;
                /** @description At most so many; 20 if it is not said. */
                limit?: number;
            };
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page. */
            200: {
                headers: {
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderPage"];
                };
            };
        };
    };
    createOrder: {
        parameters: {
            query?: never;
            header?: {
                /** @description The same key and request give the same order, for ever. A key belongs to one partner and one `customer_id`: the same key for another customer is another order. So repeat a request with the `customer_id` it had first, also for a guest whom the app gives an id of its own. */
                "Idempotency-Key"?: string;
                /** @description The `revision`, in quotes, of the list that the customer has seen. A weak tag says the same. */
                "If-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["CreateOrder"];
            };
        };
        responses: {
            /** @description Accepted (or accepted before under this key). */
            202: {
                headers: {
                    ETag?: string;
                    Location?: string;
                    "Lungo-Position"?: string;
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderView"];
                };
            };
        };
    };
    getOngoingOrders: {
        parameters: {
            query: {
                /** @description The partner's own id of its customer. */
                customer_id: string;
            };
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The orders. */
            200: {
                headers: {
                    ETag?: string;
                    "Lungo-Position"?: string;
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OngoingOrders"];
                };
            };
            /** @description Nothing has changed but the progress. */
            304: {
                headers: {
                    "Lungo-Position"?: string;
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    getOrder: {
        parameters: {
            query?: never;
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
                "If-None-Match"?: string;
            };
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The order. */
            200: {
                headers: {
                    ETag?: string;
                    "Lungo-Position"?: string;
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderView"];
                };
            };
            /** @description It has not changed. */
            304: {
                headers: {
                    "Lungo-Position"?: string;
                    "Retry-After"?: number;
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    deleteOrder: {
        parameters: {
            query?: never;
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
            };
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Removed: every later call on it is answered 410. */
            202: {
                headers: {
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Deleted"];
                };
            };
        };
    };
    reportArrival: {
        parameters: {
            query?: never;
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
            };
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The order. */
            200: {
                headers: {
                    ETag?: string;
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderView"];
                };
            };
        };
    };
    cancelOrder: {
        parameters: {
            query?: never;
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
            };
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The order, cancelled. */
            200: {
                headers: {
                    ETag?: string;
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderView"];
                };
            };
        };
    };
    getOrderEvents: {
        parameters: {
            query?: {
                /** @description Only what happened after this version of the order; everything if it is not said. */
                after?: number;
            };
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
            };
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The events. */
            200: {
                headers: {
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderEvents"];
                };
            };
        };
    };
    putPickup: {
        parameters: {
            query?: never;
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
                /** @description The order's `ETag`, or its `version` in quotes: an order that has changed since is left as it is. A weak tag, as a compressing proxy makes it, says the same. */
                "If-Match"?: string;
            };
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PickupRequest"];
            };
        };
        responses: {
            /** @description The order. */
            200: {
                headers: {
                    ETag?: string;
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["OrderView"];
                };
            };
        };
    };
    whyOrder: {
        parameters: {
            query?: never;
            header?: {
                /** @description From an earlier answer: this one is at least that fresh. */
                "Lungo-Position"?: string;
            };
            path: {
                order_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Why it stands where it stands. */
            200: {
                headers: {
                    "Lungo-Position"?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WhyView"];
                };
            };
        };
    };
    listShops: {
        parameters: {
            query?: never;
            header?: {
                /** @description The ETag of an answer the client still has. */
                "If-None-Match"?: string;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The shops by name. */
            200: {
                headers: {
                    /** @description Changes with anything in the body. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ShopList"];
                };
            };
            /** @description Nothing has changed since that ETag. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    getMenu: {
        parameters: {
            query?: never;
            header?: {
                /** @description The ETag of an answer the client still has. */
                "If-None-Match"?: string;
            };
            path: {
                shop_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The menu. */
            200: {
                headers: {
                    /** @description Changes with anything in the body. */
                    ETag?: string;
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MenuView"];
                };
            };
            /** @description Nothing has changed since that ETag. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    listWebhooks: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The receivers, the oldest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookList"];
                };
            };
        };
    };
    createWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewWebhook"];
            };
        };
        responses: {
            /** @description The receiver. */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecretWebhookView"];
                };
            };
        };
    };
    getWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The receiver. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookView"];
                };
            };
        };
    };
    putWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WebhookSettings"];
            };
        };
        responses: {
            /** @description The receiver. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WebhookView"];
                };
            };
        };
    };
    deleteWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description It is gone. */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    listDeliveries: {
        parameters: {
            query?: {
                result?: components["schemas"]["DeliveryResult"];
                /** @description `next_cursor` of the page before. */
                cursor?: string;
                /** @description 1 to 200; 20 by default. */
                limit?: number;
            };
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A page of deliveries, the newest first. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeliveryList"];
                };
            };
        };
    };
    resendDelivery: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                webhook_id: string;
                delivery_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The delivery. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeliveryView"];
                };
            };
        };
    };
    resendDeliveries: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ResendRange"];
            };
        };
        responses: {
            /** @description How many are on their way again. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Resent"];
                };
            };
        };
    };
    rotateWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["RotateSecret"];
            };
        };
        responses: {
            /** @description The receiver. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SecretWebhookView"];
                };
            };
        };
    };
}
