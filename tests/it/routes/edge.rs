//! What holds for every request, whatever it is for.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use serde_json::{Value, json};

use crate::contract;
use crate::server::{BY_HAND, Client, LOOK, PATIENCE, Server, fresh, ordinary, teas, text, two_lungos, until};

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"];

/// A path of the document with ids in it that exist.
fn filled(server: &Client, template: &str) -> String {
    let order = || {
        let mut body = teas(&fresh("cus"), 1, "pm_silent", None);
        body["shop_id"] = json!(BY_HAND);
        text(&server.created(&body)["order_id"])
    };
    let draft = || server.call("POST", "/v1/drafts").json(&two_lungos(&fresh("cus"))).send().expect(201).id();
    let webhook = template.starts_with("/v1/webhooks/{").then(|| {
        let body = json!({"url": "https://receiver.invalid/"});
        text(&server.call("POST", "/v1/webhooks").json(&body).send().expect(201).body["webhook_id"])
    });
    let delivery = || {
        order();
        let path = format!("/v1/webhooks/{}/deliveries", webhook.as_ref().expect("one of its own"));
        until("something is on its way", || {
            let known = server.get(&path).expect(200).body;
            known["deliveries"].get(0).map(|delivery| text(&delivery["delivery_id"]))
        })
    };
    let parts = template.split('/').map(|part| match part {
        "{webhook_id}" if webhook.is_some() => webhook.clone().expect("one of its own"),
        "{delivery_id}" if webhook.is_some() => delivery(),
        "{order_id}" if template.starts_with("/v1/drafts/") => draft(),
        "{order_id}" => order(),
        part if part.starts_with('{') => "01970000-0000-7000-8000-000000000011".into(),
        part => part.into(),
    });
    parts.collect::<Vec<String>>().join("/")
}

#[test]
fn every_documented_operation_is_there_and_every_other_method_is_told_so() {
    let server = ordinary();
    let document = contract::document(&server.url);
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 10);
    for (template, item) in paths {
        let path = filled(&server, template);
        let mut allowed: BTreeSet<String> =
            item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        if allowed.contains("GET") {
            allowed.insert("HEAD".into());
        }
        for method in METHODS {
            // What deletes gets something of its own to delete.
            let path = if method == "DELETE" { filled(&server, template) } else { path.clone() };
            let answer = server.call(method, &path).send();
            if allowed.contains(method) {
                assert!(![404, 405].contains(&answer.status), "{method} {template}: {}", answer.text);
                continue;
            }
            let refused = answer.problem(405, "method_not_allowed");
            let told = refused.headers.get_all("allow").iter().flat_map(|value| value.to_str().unwrap().split(", "));
            assert_eq!(told.map(str::to_owned).collect::<BTreeSet<_>>(), allowed, "{method} {template}");
        }
        let query = if template == "/v1/orders" || template.ends_with("/ongoing") { "?customer_id=x" } else { "" };
        let path = format!("{path}{query}");
        let head = server.call("HEAD", &path).send();
        assert_eq!(head.text, "", "{template}");
        if allowed.contains("GET") {
            assert_eq!(head.status, server.get(&path).status, "{template}");
            assert!(head.maybe("content-length").is_some_and(|length| length != "0"), "{template}: {head:?}");
        } else {
            assert_eq!(head.status, 405, "{template}");
        }
    }
}

#[test]
fn what_is_not_there_is_a_problem_like_any_other() {
    let server = ordinary();
    for path in ["/v1", "/v1/nothing", "/v1/orders/", "/v1/orders/x", "/v1/orders/%00", "/v1/orders/7/8/9", "/%C3%BF"] {
        for method in ["GET", "POST"] {
            let answer = server.call(method, path).send();
            assert!(answer.status == 404 || (answer.status == 405 && method == "POST"), "{method} {path}: {answer:?}");
        }
    }
    let nobody = "0197ffff-0000-7000-8000-000000000000";
    for (method, path) in [("GET", ""), ("GET", "/events"), ("GET", "/why"), ("POST", "/cancel"), ("DELETE", "")] {
        server.call(method, &format!("/v1/orders/{nobody}{path}")).send().problem(404, "not_found");
    }
    let pickup = server.call("PUT", &format!("/v1/orders/{nobody}/pickup")).json(&json!({}));
    pickup.send().problem(404, "not_found");
}

#[test]
fn a_request_keeps_its_usable_id() {
    let server = ordinary();
    let asked =
        |id: &str| server.call("GET", "/v1/nothing").header("X-Request-Id", id).send().body["request_id"].clone();
    assert_eq!(asked("phone-7.trace_1"), "phone-7.trace_1");
    for unusable in ["two words", "a/b", &"x".repeat(65)] {
        assert_ne!(asked(unusable), unusable);
    }
}

#[test]
fn every_operation_wants_its_own_kind_of_key() {
    let server = ordinary();
    let document = contract::document(&server.url);
    let id = "0197ffff-0000-7000-8000-000000000000";
    let partner = server.partner.key.clone().unwrap();
    // One character of a good key is another one, whichever the random key has there.
    let wrong = if partner.as_bytes()[20] == b'x' { 'y' } else { 'x' };
    let unknown = format!("{}{wrong}{}", &partner[..20], &partner[21..]);
    for (template, item) in document["paths"].as_object().unwrap() {
        let parts = template.split('/').map(|part| if part.starts_with('{') { id } else { part });
        let path = parts.collect::<Vec<_>>().join("/");
        for (method, operation) in item.as_object().unwrap() {
            let Some(scheme) = operation["security"].as_array().and_then(|schemes| schemes.first()?.as_object()) else {
                continue;
            };
            let method = method.to_uppercase();
            let with = |key: Option<&str>| server.partner.with_key(key).call(&method, &path).send();
            for key in [None, Some(unknown.as_str()), Some("secret"), Some("")] {
                with(key).problem(401, "unauthenticated");
            }
            let twice = server.call(&method, &path).header("Authorization", "Bearer x").send();
            twice.problem(401, "unauthenticated");
            let basic =
                server.partner.with_key(None).call(&method, &path).header("Authorization", "Basic bHVuZ286eA==").send();
            basic.problem(401, "unauthenticated");
            for (kind, name) in [("partnerKey", "PARTNER"), ("shopKey", "SHOP"), ("adminKey", "ADMIN")] {
                if !scheme.contains_key(kind) {
                    let other = server.with_key(&format!("LUNGO_{name}_KEY"));
                    other.call(&method, &path).send().problem(403, "forbidden");
                }
            }
        }
    }
}

#[test]
fn a_body_must_be_json_in_utf_8() {
    let server = ordinary();
    let body = two_lungos(&fresh("cus")).to_string();
    let post = |kind: &str, body: &[u8]| server.call("POST", "/v1/orders").body(kind, body).send();
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1", "application/xml"]
    {
        post(kind, body.as_bytes()).problem(415, "unsupported_media_type");
    }
    server.call("POST", "/v1/orders").send().problem(415, "unsupported_media_type");
    let zipped = server.call("POST", "/v1/orders").header("Content-Encoding", "gzip");
    zipped.body("application/json", body.clone()).send().problem(415, "unsupported_media_type");

    let twice = body.replacen('{', "{\"customer_id\": \"x\", ", 1);
    let deep = format!("{{\"metadata\": {}1{}}}", "[".repeat(5000), "]".repeat(5000));
    for malformed in [
        b"".as_slice(),
        b"{",
        b"{} {}",
        b"{\"customer_id\": \"\xff\xfe\"}",
        b"\xef\xbb\xbf{}",
        b"{\"customer_id\": \"\\ud800\"}",
        b"{\"total\": NaN}",
        twice.as_bytes(),
        deep.as_bytes(),
    ] {
        post("application/json", malformed).problem(400, "malformed_request");
    }
    for not_an_order in ["[]", "null", "7", "\"order\""] {
        post("application/json", not_an_order.as_bytes()).problem(400, "invalid_request");
    }
    post("Application/JSON; charset=UTF-8", body.as_bytes()).expect(202);
}

#[test]
fn an_address_that_is_not_utf_8_is_refused_whatever_it_names() {
    let server = ordinary();
    let admin = server.with_key("LUNGO_ADMIN_KEY");
    for path in [
        "/v1/orders?customer_id=caf%E9",
        "/v1/orders/ongoing?customer_id=%ff",
        "/v1/orders/%fe",
        "/v1/events?cursor=100%",
        "/v1/shops/%C3/menu",
        "/no/such/%zz",
    ] {
        assert_eq!(server.get(path).status, 400, "{path}");
    }
    admin.get("/v1/admin/orders?customer_id=%e9").problem(400, "malformed_request");
    let name = "caf\u{e9} \u{20ac}";
    let mut body = two_lungos(name);
    body["customer_id"] = json!(name);
    let id = server.created(&body)["order_id"].clone();
    let list = server.get("/v1/orders?customer_id=caf%C3%A9%20%E2%82%AC").expect(200).body;
    assert_eq!(list["orders"][0]["order_id"], id);
}

#[test]
fn a_note_keeps_its_lines_and_a_name_has_something_to_be_seen() {
    let server = ordinary();
    let mut body = two_lungos(&fresh("cus"));
    body["total"]["amount"] = json!(820.0);
    body["pickup"] = json!({"note": "extra hot\r\nno lid", "name": "\u{3000}Ada\u{200b}"});
    let made = server.created(&body);
    assert_eq!((&made["pickup"]["note"], &made["pickup"]["name"]), (&json!("extra hot\nno lid"), &json!("Ada")));
    for unseen in ["\u{200b}", "\u{3164}", " \u{feff}\u{a0}"] {
        body["pickup"]["name"] = json!(unseen);
        let faults = server.create(&body).problem(400, "invalid_request").faults();
        assert_eq!(faults, [("/pickup/name".to_owned(), "too_short".to_owned())], "{unseen:?}");
    }
}

#[test]
fn all_faults_of_a_body_are_told_at_once() {
    let server = ordinary();
    let mut body = two_lungos(&"x".repeat(65));
    body["lines"] = json!([{"quantity": 100, "item_id": "tea"}, {"item_id": "", "quantity": 1, "size": "xl"}]);
    body["total"] = json!({"amount": 1.5, "currency": "EURO"});
    body["pickup"] = json!({"type": "drone", "at": "soon", "note": "x".repeat(281)});
    body["on_unavailable"] = json!("panic");
    body["metadata"] = json!({"a": 1});
    body["coupon"] = json!("FREE");
    body.as_object_mut().unwrap().remove("payment");
    let told = server.create(&body).problem(400, "invalid_request").faults();
    let pointers: BTreeSet<&str> = told.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let expected = [
        "/coupon",
        "/customer_id",
        "/lines/0/quantity",
        "/lines/1/item_id",
        "/lines/1/size",
        "/metadata/a",
        "/on_unavailable",
        "/payment",
        "/pickup/at",
        "/pickup/note",
        "/pickup/type",
        "/total/amount",
        "/total/currency",
    ];
    assert_eq!(pointers, expected.into());
    for (path, method) in [("/v1/drafts", "POST"), ("/v1/orders/0197ffff-0000-7000-8000-000000000000/pickup", "PUT")] {
        let fault = server.call(method, path).json(&json!({"coupon": 1})).send().problem(400, "invalid_request");
        assert!(fault.faults().contains(&("/coupon".into(), "unknown_field".into())), "{}", fault.text);
    }
    for key in ["", "two words", "\"open", &"k".repeat(129), "käse"] {
        let call = server.call("POST", "/v1/orders").header("Idempotency-Key", key);
        call.json(&two_lungos(&fresh("cus"))).send().problem(400, "invalid_request");
    }
}

/// Sends this as it is, and reads until the server closes the connection.
fn raw(server: &Client, head: &str, pieces: impl FnOnce(&mut TcpStream)) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let key = server.key.as_deref().unwrap();
    let head =
        format!("{head} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    pieces(&mut stream);
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    loop {
        match stream.read(&mut piece) {
            Ok(n @ 1..) => answer.extend(&piece[..n]),
            Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => panic!("the connection is never closed"),
            // A reset after the answer is an end as well.
            _ => return String::from_utf8(answer).unwrap(),
        }
    }
}

#[test]
fn too_large_a_body_is_refused_however_it_is_sent() {
    let server = ordinary();
    let body = two_lungos(&fresh("cus")).to_string();
    let padded = |length: usize| format!("{}{body}", " ".repeat(length - body.len()));
    let post = |body: String| server.call("POST", "/v1/orders").body("application/json", body).send();
    post(padded(16 * 1024 + 1)).problem(413, "body_too_large");
    post(padded(16 * 1024)).expect(202);
    let answer = raw(&server, "POST /v1/orders", |stream| {
        stream.write_all(b"transfer-encoding: chunked\r\n\r\n").unwrap();
        let chunk = format!("1000\r\n{}\r\n", " ".repeat(0x1000));
        // It may stop listening before all of it was sent.
        let _ = (0..8).try_for_each(|_| stream.write_all(chunk.as_bytes()));
    });
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
    let announced = raw(&server, "POST /v1/orders", |stream| {
        stream.write_all(b"content-length: 99999999999\r\n\r\n").unwrap();
    });
    assert!(announced.starts_with("HTTP/1.1 413"), "{announced}");
}

/// Slow: the server waits ten seconds for a body, and that is not a setting.
#[test]
fn who_sends_too_slowly_is_cut_off() {
    let server = ordinary();
    let server: &Client = &server;
    // One after another for as long as the server takes them: how slowly is the very thing under test.
    let trickle = |stream: &TcpStream, piece: &'static [u8]| {
        let mut stream = stream.try_clone().unwrap();
        thread::spawn(move || {
            while stream.write_all(piece).is_ok() {
                thread::sleep(LOOK * 10);
            }
        });
    };
    thread::scope(|scope| {
        for (framing, piece) in
            [("content-length: 1000", &b" "[..]), ("transfer-encoding: chunked", &b"1\r\n \r\n"[..])]
        {
            scope.spawn(move || {
                let answer = raw(server, "POST /v1/orders", |stream| {
                    stream.write_all(format!("{framing}\r\n\r\n").as_bytes()).unwrap();
                    trickle(stream, piece);
                });
                assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("request_timeout"), "{answer}");
            });
        }
        scope.spawn(move || {
            let answer = raw(server, "GET /livez", |stream| trickle(stream, b"x"));
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
        });
    });
}

#[test]
fn the_service_says_how_it_is_and_what_it_can() {
    let server = ordinary();
    let nobody = server.partner.with_key(None);
    assert_eq!(nobody.get("/livez").expect(200).body, json!({"status": "ok"}));
    assert_eq!(nobody.get("/readyz").expect(200).body["status"], "ready");
    let document = nobody.get("/openapi.json").expect(200);
    assert!(text(&document.body["openapi"]).starts_with("3.1"));
    let same = nobody.call("GET", "/openapi.json").header("If-None-Match", document.header("etag")).send();
    same.expect(304);
    assert_eq!(nobody.get("/").expect(303).header("location"), "/docs");
    assert!(nobody.get("/docs").expect(200).text.contains("The two calls"));
    for path in ["/docs/../../etc/passwd", "/docs/%2e%2e/%2e%2e/etc/passwd"] {
        let end = b"connection: close\r\n\r\n";
        let answer = raw(&server, &format!("GET {path}"), |stream| stream.write_all(end).unwrap());
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    let ids: Vec<Value> = document.body["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values().map(|operation| operation["operationId"].clone()))
        .collect();
    let unique: BTreeSet<String> = ids.iter().map(text).collect();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn one_line_is_logged_for_a_request_without_path_query_or_key() {
    let server = Server::start_with(&[], &[("LUNGO_LOG", "lungo::web::edge=info"), ("LUNGO_LOG_FORMAT", "json")]);
    let path = format!("/v1/orders/{}?token=sesame", uuid::Uuid::now_v7());
    let answer = server.call("GET", &path).header("x-request-id", "logged-once").send();
    answer.problem(404, "not_found");
    let logged = || server.log().lines().filter(|line| line.contains("logged-once")).map(str::to_owned).collect();
    let lines: Vec<String> = until("the line", || Some(logged()).filter(|lines: &Vec<_>| !lines.is_empty()));
    assert_eq!(lines.len(), 1, "{lines:?}");
    let fields: Value = serde_json::from_str(&lines[0]).expect("a line of JSON");
    assert_eq!(fields["http.route"], "/v1/orders/{order_id}");
    assert_eq!(fields["http.method"], "GET");
    assert_eq!(fields["http.status"], 404);
    assert!(fields["http.duration_ms"].is_number());
    assert!(!lines[0].contains("sesame") && !lines[0].contains(&path[..20]), "{}", lines[0]);
}

#[test]
fn whatever_is_asked_the_series_of_the_metrics_stay_few() {
    // Its own: others ask the shared one for what they like.
    let server = Server::start(&[]);
    let admin = server.with_key("LUNGO_ADMIN_KEY");
    let document = contract::document(&server.url);
    let pages = ["/console", "/console/orders", "/console/login", "/board", "/board/shop", "/assets/x/y", "/made-up"];
    let paths: Vec<String> = document["paths"].as_object().unwrap().keys().cloned().collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).chain(pages).collect();
    let methods = [&METHODS[..], &["HEAD", "BREW"]].concat();
    let clients = [server.partner.clone(), server.with_key("LUNGO_SHOP_KEY"), server.partner.with_key(None)];
    thread::scope(|scope| {
        for client in &clients {
            let (paths, methods) = (&paths, &methods);
            scope.spawn(move || {
                for (path, method) in paths.iter().flat_map(|path| methods.iter().map(move |method| (path, method))) {
                    let path = path.replace("{item_id}", "made-up").replace(['{', '}'], "0");
                    knock(client, method, &path);
                }
            });
        }
    });
    let metrics = knock(&admin, "GET", "/metrics");
    let series = metrics.lines().filter(|line| line.starts_with("lungo_") || line.starts_with("process_")).count();
    println!("{series} series");
    assert!(series <= 2000, "{series} series");
    for standard in ["process_open_fds", "process_resident_memory_bytes", "process_cpu_seconds_total"] {
        assert!(metrics.contains(&format!("\n{standard} ")), "no {standard}");
    }
}

/// Asks, and does not care what the answer is: pages are in no document.
fn knock(client: &Client, method: &str, path: &str) -> String {
    let address = client.url.strip_prefix("http://").expect("plain HTTP");
    let mut connection = TcpStream::connect(address).expect("it listens");
    let key = client.key.iter().map(|key| format!("Authorization: Bearer {key}\r\n")).collect::<String>();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n{key}Connection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).expect("it answers");
    assert!(answer.starts_with(b"HTTP/1.1 "), "{method} {path}");
    String::from_utf8_lossy(&answer).into_owned()
}
