//! What a request is counted as.
//!
//! Which series there are is bounded by the table of routes, whatever is asked. A request that no handler answered says
//! something about its sender and nothing about a route: all of them are counted together, and not timed. Pages and rare
//! calls share one route for each surface. A status is told exactly where an operator would act differently, otherwise by
//! its class. So there are at most 2,000 series in all.

use actix_web::http::{Method, StatusCode};

/// The labels of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Counted<'r> {
    pub route: &'r str,
    pub method: &'static str,
    pub status: &'static str,
    /// Whether its duration says how long a handler takes.
    pub is_timed: bool,
}

/// Of a request that no handler answered.
const UNMATCHED: &str = "unmatched";

/// Surfaces whose routes are counted as one, the narrower ones first.
const GROUPS: [(&str, &str); 13] = [
    ("/v1/shop/items", "/v1/shop/*"),
    ("/v1/shop/options", "/v1/shop/*"),
    ("/v1/shop/mode", "/v1/shop/*"),
    ("/v1/shop/heartbeat", "/v1/shop/*"),
    ("/v1/admin", "/v1/admin/*"),
    ("/v1/webhooks", "/v1/webhooks/*"),
    ("/board/shop", "/board/shop/*"),
    ("/board", "/board/*"),
    ("/console", "/console/*"),
    ("/simulator", "/simulator/*"),
    ("/assets", "/assets/*"),
    ("/docs", "/docs/*"),
    ("/openapi.json", "/docs/*"),
];

impl<'r> Counted<'r> {
    /// `route` is the pattern of a route that was found.
    pub fn of(method: &Method, route: Option<&'r str>, status: StatusCode) -> Self {
        let status_word = word_of(status);
        let unmatched = Self { route: UNMATCHED, method: "other", status: status_word, is_timed: false };
        let Some(route) = route.filter(|_| status != StatusCode::METHOD_NOT_ALLOWED) else { return unmatched };
        let Some(method) = word(method) else { return unmatched };
        let is_in =
            |surface: &str| route.strip_prefix(surface).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let group = GROUPS.iter().find(|(surface, _)| is_in(surface)).map(|(_, group)| *group);
        Self { route: group.unwrap_or(route), method, status: status_word, is_timed: !is_refused(status) }
    }
}

/// Whether a guard refused it before its handler, which anybody may have done as often as they like.
fn is_refused(status: StatusCode) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS].contains(&status)
}

/// A client can make up methods. HEAD is answered as GET is.
fn word(method: &Method) -> Option<&'static str> {
    let words = [("GET", "GET"), ("HEAD", "GET"), ("POST", "POST"), ("PUT", "PUT"), ("DELETE", "DELETE")];
    words.into_iter().find(|(known, _)| *known == method.as_str()).map(|(_, word)| word)
}

fn word_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        // The guard against a second coffee.
        409 => "409",
        // Too many of one partner.
        429 => "429",
        // A fault of ours …
        500 => "500",
        // … or too much to do, or no database.
        503 => "503",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// What is not counted by route. Shown before anything was asked: about 900.
    const OTHERS: usize = 950;
    /// A histogram's buckets, its sum and its count.
    const OF_A_HISTOGRAM: usize = 8 + 3;

    fn routes() -> Vec<String> {
        let document = crate::web::openapi::document();
        let paths = document["paths"].as_object().expect("paths").keys().cloned();
        let pages = [include_str!("console.rs"), include_str!("board.rs")]
            .into_iter()
            .flat_map(|table| table.split("resource(").skip(1))
            .filter_map(|service| service.split('"').nth(1).map(str::to_owned));
        let shop_of_board =
            paths.clone().filter_map(|path| Some(format!("/board/shop{}", path.strip_prefix("/v1/shop/")?)));
        paths.clone().chain(pages).chain(shop_of_board).chain(["/", "/docs", "/docs/"].map(str::to_owned)).collect()
    }

    #[test]
    fn whatever_is_asked_there_are_less_than_two_thousand_series() {
        let routes = routes();
        assert!(routes.len() > 120, "{}", routes.len());
        let methods =
            ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "MADE-UP", "get"];
        let (mut counters, mut timed) = (HashSet::new(), HashSet::new());
        for route in routes.iter().map(|route| Some(route.as_str())).chain([None]) {
            // A route has the methods that it has; others are answered 405.
            let own = |method: &str| route.is_some_and(|route| methods_of(route).contains(&method));
            for method in methods {
                let statuses = (100..600).filter(|status| own(method) || [404, 405].contains(status));
                for status in statuses {
                    let status = StatusCode::from_u16(status).expect("a status");
                    let route = route.filter(|_| own(method) || status == 405);
                    let counted = Counted::of(&Method::from_bytes(method.as_bytes()).expect("a token"), route, status);
                    counters.insert((counted.route, counted.method, counted.status));
                    timed.extend(counted.is_timed.then_some((counted.route, counted.method)));
                }
            }
        }
        let series = OTHERS + counters.len() + timed.len() * OF_A_HISTOGRAM;
        assert!(series <= 2000, "{} counters, {} timed, {series} in all", counters.len(), timed.len());
    }

    /// The methods of a documented route; of a page both that pages have.
    fn methods_of(route: &str) -> Vec<&'static str> {
        let document = crate::web::openapi::document();
        let all = ["GET", "HEAD", "POST", "PUT", "DELETE"];
        match document["paths"].get(route) {
            Some(path) => {
                let has = |method: &str| path.get(method.to_lowercase()).is_some();
                all.into_iter().filter(|method| has(method) || (*method == "HEAD" && has("GET"))).collect()
            }
            None => vec!["GET", "HEAD", "POST"],
        }
    }

    #[test]
    fn what_no_handler_answered_is_counted_together() {
        let of = |method: &str, route, status| {
            let status = StatusCode::from_u16(status).unwrap();
            Counted::of(&Method::from_bytes(method.as_bytes()).unwrap(), route, status)
        };
        for (method, route, status) in
            [("GET", None, 404), ("PATCH", Some("/v1/orders"), 405), ("BREW", Some("/v1/orders"), 404)]
        {
            let counted = of(method, route, status);
            assert_eq!(counted, Counted { route: "unmatched", method: "other", status: "4xx", is_timed: false });
        }
        let counted = |route: &'static str, method, status, is_timed| Counted { route, method, status, is_timed };
        assert_eq!(of("POST", Some("/v1/orders"), 202), counted("/v1/orders", "POST", "2xx", true));
        assert_eq!(of("POST", Some("/v1/orders"), 409), counted("/v1/orders", "POST", "409", true));
        assert_eq!(of("GET", Some("/v1/orders"), 401), counted("/v1/orders", "GET", "4xx", false));
        assert_eq!(of("HEAD", Some("/livez"), 503), counted("/livez", "GET", "503", true));
        assert_eq!(of("GET", Some("/v1/admin/keys/{key_id}"), 502), counted("/v1/admin/*", "GET", "5xx", true));
        assert_eq!(of("GET", Some("/console"), 302), counted("/console/*", "GET", "3xx", true));
        assert_eq!(of("GET", Some("/consoles"), 200).route, "/consoles");
    }
}
