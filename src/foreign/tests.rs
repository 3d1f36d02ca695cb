use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rstest::rstest;

use super::*;

fn strict() -> Rules {
    Rules::allowing::<&str>(&[])
}

#[rstest]
#[case::plain("http://hooks.example/x", Unfit::NotHttps)]
#[case::another_scheme("gopher://hooks.example/x", Unfit::NotHttps)]
#[case::a_file("file:///etc/passwd", Unfit::Malformed)]
#[case::no_host_but_the_path("https:///x", Unfit::Local)]
#[case::localhost("https://localhost/", Unfit::Local)]
#[case::localhost_with_a_dot("https://localhost.:8443/", Unfit::Local)]
#[case::below_localhost("https://db.LOCALHOST/", Unfit::Local)]
#[case::a_search_domain("https://intranet/", Unfit::Local)]
#[case::a_search_domain_and_a_dot("https://billing./", Unfit::Local)]
#[case::multicast_names("https://printer.local/", Unfit::Local)]
#[case::the_clouds_metadata("https://metadata.google.internal/", Unfit::Local)]
#[case::of_a_cluster("https://postgres.default.svc.cluster.local/", Unfit::Local)]
#[case::relative("/x", Unfit::Malformed)]
#[case::userinfo("https://hooks.example@10.0.0.1/", Unfit::Userinfo)]
#[case::a_password("https://a:b@hooks.example/", Unfit::Userinfo)]
#[case::fragment("https://hooks.example/#x", Unfit::Fragment)]
#[case::ssh("https://hooks.example:22/", Unfit::Port)]
#[case::http_port("https://hooks.example:80/", Unfit::Port)]
#[case::private("https://10.0.0.1/", Unfit::Address("10.0.0.1".parse().unwrap()))]
#[case::metadata("https://169.254.169.254/latest", Unfit::Address("169.254.169.254".parse().unwrap()))]
#[case::decimal("https://2130706433/", Unfit::Address("127.0.0.1".parse().unwrap()))]
#[case::octal("https://0177.0.0.1/", Unfit::Address("127.0.0.1".parse().unwrap()))]
#[case::hex("https://0x7f.1/", Unfit::Address("127.0.0.1".parse().unwrap()))]
#[case::short("https://127.1/", Unfit::Address("127.0.0.1".parse().unwrap()))]
#[case::full_width("https://１２７.0.0.1/", Unfit::Address("127.0.0.1".parse().unwrap()))]
#[case::percent_encoded("https://%31%32%37.0.0.1/", Unfit::Address("127.0.0.1".parse().unwrap()))]
#[case::v6("https://[::1]/", Unfit::Address("::1".parse().unwrap()))]
#[case::v6_mapped("https://[::ffff:127.0.0.1]/", Unfit::Address("::ffff:127.0.0.1".parse().unwrap()))]
#[case::a_new_line("https://hooks.example/\nx", Unfit::Malformed)]
fn a_trick_is_refused_when_it_is_written_down(#[case] url: &str, #[case] why: Unfit) {
    assert_eq!(ForeignUrl::parse(url, &strict()), Err(why));
}

#[test]
fn an_ordinary_url_is_fit_and_a_listed_host_may_be_anything() {
    for url in ["https://hooks.example/lungo?x=1", "https://hooks.example:8443/", "https://8.8.8.8/"] {
        assert!(ForeignUrl::parse(url, &strict()).is_ok(), "{url}");
    }
    let long = format!("https://hooks.example/{}", "x".repeat(LONGEST_URL));
    assert_eq!(ForeignUrl::parse(&long, &strict()), Err(Unfit::TooLong));
    let rules = Rules::allowing(&["127.0.0.1", "[::1]", "Receiver.Local", "localhost"]);
    let listed = ["http://127.0.0.1:99/", "http://[::1]/", "http://receiver.local/", "http://2130706433/"];
    for url in listed.into_iter().chain(["http://localhost:99/"]) {
        assert!(ForeignUrl::parse(url, &rules).is_ok(), "{url}");
    }
    assert_eq!(ForeignUrl::parse("http://127.0.0.2/", &rules), Err(Unfit::NotHttps));
    assert_eq!(ForeignUrl::parse("http://a:b@127.0.0.1/", &rules), Err(Unfit::Userinfo));
}

/// Says something else each time it is asked; the last of it for ever.
struct Rebinding {
    answers: Vec<Vec<IpAddr>>,
    asked: AtomicUsize,
    names: Mutex<Vec<String>>,
}

impl Rebinding {
    fn of(answers: &[&[&str]]) -> Arc<Self> {
        let addresses = |answer: &&[&str]| answer.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self {
            answers: answers.iter().map(addresses).collect(),
            asked: AtomicUsize::new(0),
            names: Mutex::default(),
        })
    }
}

#[async_trait]
impl Resolver for Rebinding {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        self.names.lock().unwrap().push(host.to_owned());
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.answers[asked.min(self.answers.len() - 1)].clone())
    }
}

/// What a server heard, in full.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// Answers every connection to this address with the bytes of `answer`, and then does `after` with it.
fn listen(ip: &str, answer: &'static str, after: fn(&mut std::net::TcpStream)) -> (u16, Heard) {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let (port, heard) = (listener.local_addr().unwrap().port(), Heard::default());
    let ours = heard.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let heard = ours.clone();
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut text = String::new();
                let mut buffer = [0; 4096];
                while !text.contains("\r\n\r\n{}") {
                    match stream.read(&mut buffer) {
                        Ok(1..) if text.is_empty() && buffer[0] == 22 => text += "TLS",
                        Ok(read @ 1..) => text += &String::from_utf8_lossy(&buffer[..read]),
                        _ => break,
                    }
                    if text == "TLS" {
                        break;
                    }
                }
                heard.0.lock().unwrap().push(text);
                let _ = stream.write_all(answer.as_bytes());
                after(&mut stream);
            });
        }
    });
    (port, heard)
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A host by the rules, but for TLS, which no test server has; only 127.0.0.2 counts as public.
fn caller(resolver: Arc<dyn Resolver>) -> Caller {
    let is_public = |address: IpAddr| address == "127.0.0.2".parse::<IpAddr>().unwrap();
    let rules = Rules { allowed: Arc::new([]), is_public };
    Caller::new(rules, resolver, Duration::from_millis(1500)).unwrap()
}

fn http(port: u16, path: &str) -> ForeignUrl {
    ForeignUrl(format!("http://hooks.example:{port}{path}").parse().unwrap())
}

async fn post(caller: &Caller, url: &ForeignUrl) -> Result<Answer, Trouble> {
    caller.post(url, &[("webhook-id", "evt_1".into())], b"{}".to_vec()).await
}

#[tokio::test]
async fn it_connects_to_the_address_that_was_checked() {
    let (port, heard) = listen("127.0.0.2", OK, |_| {});
    let resolver = Rebinding::of(&[&["127.0.0.2"]]);
    let answer = post(&caller(resolver.clone()), &http(port, "/x")).await.unwrap();
    assert_eq!(answer, Answer { status: 200, retry_after: None });
    let heard = heard.all();
    assert_eq!(heard.len(), 1);
    assert!(heard[0].starts_with("POST /x HTTP/1.1\r\n") && heard[0].contains("webhook-id: evt_1"), "{heard:?}");
    assert!(heard[0].contains(&format!("host: hooks.example:{port}")), "{heard:?}");
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1, "it is resolved once");
    assert_eq!(*resolver.names.lock().unwrap(), ["hooks.example."], "no search domain is appended");
}

#[tokio::test]
async fn a_name_that_means_something_else_the_second_time_is_not_believed() {
    let (port, secret) = listen("127.0.0.1", OK, |_| {});
    // Nobody listens at that port of the address that is checked: what the name means next must not be tried.
    let resolver = Rebinding::of(&[&["127.0.0.2"], &["127.0.0.1"]]);
    let caller = caller(resolver.clone());
    assert!(matches!(post(&caller, &http(port, "/")).await, Err(Trouble::Unreachable(_))));
    assert_eq!(resolver.asked.load(Ordering::SeqCst), 1);
    let refused = post(&caller, &http(port, "/")).await;
    assert_eq!(refused, Err(Trouble::Unfit(Unfit::Address("127.0.0.1".parse().unwrap()))));
    assert_eq!(secret.all(), [""; 0]);
}

#[rstest]
#[case::one_of_several(&["127.0.0.2", "10.0.0.1"])]
#[case::mapped(&["::ffff:127.0.0.2"])]
#[case::link_local(&["169.254.169.254"])]
#[tokio::test]
async fn all_addresses_have_to_be_public(#[case] addresses: &[&str]) {
    let (port, heard) = listen("127.0.0.2", OK, |_| {});
    let refused = post(&caller(Rebinding::of(&[addresses])), &http(port, "/")).await;
    assert!(matches!(refused, Err(Trouble::Unfit(Unfit::Address(_)))), "{refused:?}");
    assert_eq!(heard.all(), [""; 0]);
}

/// Knows no name.
struct Unknowing;

#[async_trait]
impl Resolver for Unknowing {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::other(format!("10.9.8.7:53 says that {host} is unknown")))
    }
}

/// Otherwise a partner could find out which names our network has, and where.
#[tokio::test]
async fn a_partner_cannot_tell_a_private_name_from_one_that_does_not_exist() {
    let mut told = Vec::new();
    let resolvers: [Arc<dyn Resolver>; 4] =
        [Rebinding::of(&[&["10.1.2.3"]]), Rebinding::of(&[&["fd00::1"]]), Rebinding::of(&[&[]]), Arc::new(Unknowing)];
    for resolver in resolvers {
        let trouble = post(&caller(resolver), &http(9, "/")).await.unwrap_err();
        let detail = trouble.detail();
        assert!(["10.1.2.3", "fd00::1", "no address", "10.9.8.7"].iter().any(|word| detail.contains(word)), "{detail}");
        told.push(trouble.to_string());
    }
    assert_eq!(told[0], "the URL may not be spoken to: its host has no public address");
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

/// Nor which ports are open where it may not look itself.
#[tokio::test]
async fn a_partner_cannot_tell_a_closed_port_from_one_that_speaks_something_else() {
    let caller = caller(Rebinding::of(&[&["127.0.0.2"]]));
    let (garbage, _) = listen("127.0.0.2", "SSH-2.0-internal\r\n\r\n", |_| {});
    let closed = TcpListener::bind(("127.0.0.2", 0)).unwrap().local_addr().unwrap().port();
    let secure = ForeignUrl(format!("https://hooks.example:{garbage}/").parse().unwrap());
    for url in [http(garbage, "/"), http(closed, "/"), secure] {
        let trouble = post(&caller, &url).await.unwrap_err();
        assert_eq!(trouble.to_string(), "it cannot be reached", "{trouble:?}");
        assert!(trouble.detail().len() > trouble.to_string().len(), "{trouble:?}");
    }
}

#[tokio::test]
async fn no_redirect_is_followed() {
    static LOCATION: Mutex<String> = Mutex::new(String::new());
    let (inner, secret) = listen("127.0.0.2", OK, |_| {});
    *LOCATION.lock().unwrap() = format!("http://hooks.example:{inner}/secret");
    let location = Box::leak(
        format!("HTTP/1.1 307 Look There\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", LOCATION.lock().unwrap())
            .into_boxed_str(),
    );
    let (port, _) = listen("127.0.0.2", location, |_| {});
    let answer = post(&caller(Rebinding::of(&[&["127.0.0.2"]])), &http(port, "/")).await.unwrap();
    assert_eq!(answer.status, 307);
    assert_eq!(secret.all(), [""; 0]);
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left_and_one_that_never_ends_is_answered_by_its_status() {
    let caller = caller(Rebinding::of(&[&["127.0.0.2"]]));
    let (port, _) = listen("127.0.0.2", "HTTP/1.1 200", |_| std::thread::sleep(Duration::from_secs(5)));
    let began = Instant::now();
    assert_eq!(post(&caller, &http(port, "/")).await, Err(Trouble::Unanswered(Duration::from_millis(1500))));
    assert!(began.elapsed() < Duration::from_secs(3));

    let endless = "HTTP/1.1 503 Later\r\nretry-after: 7\r\ntransfer-encoding: chunked\r\n\r\n";
    let (port, _) = listen("127.0.0.2", endless, |stream| {
        while stream.write_all(b"4000\r\n").is_ok() && stream.write_all(&[b'x'; 0x4000]).is_ok() {
            if stream.write_all(b"\r\n").is_err() {
                break;
            }
        }
    });
    let began = Instant::now();
    let answer = post(&caller, &http(port, "/")).await.unwrap();
    assert_eq!(answer, Answer { status: 503, retry_after: Some("7".into()) });
    let (port, _) = listen("127.0.0.2", "HTTP/1.1 204 Slowly\r\ntransfer-encoding: chunked\r\n\r\n", |stream| {
        while stream.write_all(b"1\r\nx\r\n").is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    assert_eq!(post(&caller, &http(port, "/")).await.unwrap().status, 204);
    assert!(began.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let (port, _) = listen("127.0.0.2", "coffee is ready\r\n\r\n", |_| {});
    let answer = post(&caller(Rebinding::of(&[&["127.0.0.2"]])), &http(port, "/")).await;
    assert!(matches!(answer, Err(Trouble::Unreachable(_))), "{answer:?}");
}

#[tokio::test]
async fn https_is_tls_and_a_certificate_that_nobody_vouches_for_is_refused() {
    let (port, heard) = listen("127.0.0.2", "\u{15}\u{3}\u{3}", |_| {});
    let url = ForeignUrl(format!("https://hooks.example:{port}/").parse().unwrap());
    let answer = post(&caller(Rebinding::of(&[&["127.0.0.2"]])), &url).await;
    assert!(matches!(answer, Err(Trouble::Unreachable(_) | Trouble::Unanswered(_))), "{answer:?}");
    assert!(heard.all().iter().all(|heard| heard == "TLS"), "nothing is said in the open: {:?}", heard.all());
}

#[test]
fn what_is_asked_for_is_obeyed_within_bounds() {
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    let read =
        |status, text: &str| Answer { status, retry_after: Some(text.into()) }.asks_for(now).map(|wait| wait.as_secs());
    assert_eq!([read(429, "7"), read(503, "7"), read(500, "7")], [Some(7), Some(7), None]);
    assert_eq!([read(429, "99999999"), read(429, "0")], [Some(3600), Some(1)]);
    assert_eq!(read(429, "99999999999999999999999"), Some(3600));
    for date in ["Fri, 02 Jan 2026 03:04:35 GMT", "Friday, 02-Jan-26 03:04:35 GMT", "Fri Jan  2 03:04:35 2026"] {
        assert_eq!(read(429, date), Some(30), "{date}");
    }
    for past in ["Thu, 01 Jan 2026 00:00:00 GMT", "Thursday, 01-Jan-26 00:00:00 GMT", "Thu Jan  1 00:00:00 2026"] {
        assert_eq!(read(429, past), Some(1), "{past}");
    }
    assert_eq!(read(429, "Tue, 01 Jan 2036 00:00:00 GMT"), Some(3600));
    for garbage in ["", "soon", "-1", "+7", "1e9", "7 s", "Fri, 32 Jan 2026 03:04:35 GMT", "2026-01-02T03:04:35Z"] {
        assert_eq!(read(429, garbage), None, "{garbage}");
    }
}
