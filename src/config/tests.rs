use clap::Command;

use super::*;
use clap::FromArgMatches;

fn command() -> Command {
    Settings::augment_args(Command::new("serve"))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn the_defaults_fit_together() {
    let matches = command().get_matches_from(["serve"]);
    let settings = Settings::from_arg_matches(&matches).unwrap();
    assert_eq!(settings.check(), Ok(()));
    assert_eq!(settings.deadlines().acceptance, Deadlines::default().acceptance);
    assert_eq!(settings.rules().max_ongoing, Rules::default().max_ongoing);
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let file = file("lease = \"60s\"\nreaders = 7\n");
    let read = with_file(command(), file.path()).unwrap();
    let matches = read.clone().get_matches_from(["serve", "--readers", "3"]);
    let settings = Settings::from_arg_matches(&matches).unwrap();
    assert_eq!((settings.lease.0.as_secs(), settings.readers), (60, 3));
    let shown = in_force(&command(), &read, &matches);
    let source = |name: &str| shown.iter().find(|setting| setting.name == name).unwrap().source;
    assert_eq!((source("lease"), source("readers"), source("queue")), ("file", "flag", "default"));
}

#[test]
fn a_wrong_file_is_named() {
    for text in ["leese = \"60s\"", "lease = [1]", "lease = ", "config = \"x\""] {
        let file = file(text);
        let fault = with_file(command(), file.path()).unwrap_err();
        assert!(fault.contains(&file.path().display().to_string()), "{fault}");
    }
    assert!("5 parsecs".parse::<Span>().is_err());
}

fn with_stripe(flags: &[&str]) -> Result<(), String> {
    let given = ["serve", "--gateway=stripe", "--stripe-webhook-secrets=whsec_1,whsec_2"];
    let matches = command().get_matches_from([&given, flags].concat());
    Settings::from_arg_matches(&matches).unwrap().check()
}

#[test]
fn stripe_needs_a_key_and_a_safe_way() {
    assert_eq!(with_stripe(&["--stripe-key=sk_test_1"]), Ok(()));
    for wrong in [
        &[][..],
        &["--stripe-key="],
        &["--stripe-key=pk_test_1"],
        &["--stripe-key=sk_live_1"],
        &["--stripe-key=sk_test_1", "--stripe-webhook-secrets=,"],
        &["--stripe-key=sk_test_1", "--stripe-url=http://pay.example"],
        &["--stripe-key=sk_test_1", "--stripe-url=http://127.0.0.1.pay.example:80"],
        &["--stripe-key=sk_test_1", "--stripe-url=http://127.0.0.1:80@pay.example"],
    ] {
        let fault = with_stripe(wrong).unwrap_err();
        assert!(fault.contains("stripe"), "{wrong:?}: {fault}");
    }
    assert_eq!(with_stripe(&["--stripe-key=sk_live_1", "--demo=false"]), Ok(()));
    assert_eq!(with_stripe(&["--stripe-key=sk_test_1", "--stripe-url=http://127.0.0.1:4242"]), Ok(()));
}

#[test]
fn secrets_are_not_shown_and_not_taken_as_flags() {
    let file = file("stripe_key = \"sk_test_51\"\nstripe_webhook_secrets = \"whsec_52,whsec_53\"\n");
    let mut read = with_file(command(), file.path()).unwrap();
    let help = read.render_long_help().to_string();
    let matches = read.clone().get_matches_from(["serve"]);
    let settings = Settings::from_arg_matches(&matches).unwrap();
    assert_eq!(settings.stripe_key.as_ref().unwrap().expose(), "sk_test_51");
    assert_eq!(settings.stripe_webhook_secrets.len(), 2);
    let shown = in_force(&command(), &read, &matches);
    let shown = format!("{settings:?}{}{help}", serde_json::to_string(&shown).unwrap());
    assert!(shown.contains("(secret)") && !["_51", "_52", "_53"].iter().any(|part| shown.contains(part)), "{shown}");
    assert_eq!(exposed(&command(), &matches), Ok(()));
    let told = command().get_matches_from(["serve", "--stripe-key", "sk_test_51"]);
    let fault = exposed(&command(), &told).unwrap_err();
    assert!(fault.contains("stripe_key") && !fault.contains("_51"), "{fault}");
}

#[test]
fn a_lease_shorter_than_its_calls_is_refused() {
    let matches = command().get_matches_from(["serve", "--lease", "20s"]);
    assert!(Settings::from_arg_matches(&matches).unwrap().check().is_err());
}

/// What a file is refused with; `text` stands in it.
fn refused(text: &str) -> (String, String) {
    let file = file(text);
    (with_file(command(), file.path()).unwrap_err(), file.path().display().to_string())
}

#[test]
fn a_setting_has_one_name_for_its_flag_its_variable_and_its_line() {
    for arg in command().get_arguments() {
        let id = arg.get_id().as_str();
        let variable = arg.get_env().map(|name| name.to_string_lossy().into_owned());
        assert_eq!(variable, Some(format!("LUNGO_{}", id.to_uppercase())));
        // Each is one of several.
        let flag = if id == "replicas" { "replica".to_owned() } else { id.replace('_', "-") };
        assert_eq!(arg.get_long(), Some(&*flag));
    }
}

#[test]
fn every_secret_may_have_a_file_of_its_own() {
    let command = command();
    let has = |name: &str| command.get_arguments().any(|arg| arg.get_id() == name);
    let secrets: Vec<&str> =
        command.get_arguments().filter(|arg| arg.is_hide_env_values_set()).map(|arg| arg.get_id().as_str()).collect();
    assert_eq!(secrets, ["database", "replicas", "stripe_key", "stripe_webhook_secrets", "otlp_headers"]);
    assert!(secrets.iter().all(|secret| has(&format!("{secret}_file"))), "{secrets:?}");

    let files = [
        ("--stripe-key-file", file("sk_test_51\n")),
        ("--stripe-webhook-secrets-file", file("whsec_52,whsec_53\n")),
        ("--database-file", file("postgres://u:p54@h/d\n")),
        ("--replicas-file", file("postgres://u:p55@a/d postgres://u:p56@b/d\n")),
        ("--otlp-headers-file", file("api-key=k57,x-team=coffee\n")),
    ];
    let flags = files.iter().map(|(flag, file)| format!("{flag}={}", file.path().display()));
    let matches = command.clone().get_matches_from(["serve".to_owned()].into_iter().chain(flags));
    let settings = Settings::from_arg_matches(&matches).unwrap().with_secrets().unwrap();
    assert_eq!(settings.stripe_key.as_ref().unwrap().expose(), "sk_test_51");
    assert_eq!(settings.stripe_webhook_secrets.len(), 2);
    assert_eq!(settings.servers.database.as_ref().unwrap().expose(), "postgres://u:p54@h/d");
    assert_eq!(settings.servers.replicas[1].expose(), "postgres://u:p56@b/d");
    assert_eq!(settings.collector_headers().unwrap()[0], ("api-key".to_owned(), "k57".to_owned()));
    let shown = serde_json::to_string(&in_force(&command, &command, &matches)).unwrap();
    let shown = format!("{settings:?}{shown}");
    assert!(!["k57", "_51", "_52", "_53", "p54", "p55", "p56"].iter().any(|part| shown.contains(part)), "{shown}");

    let twice = format!("--database-file={}", files[2].1.path().display());
    let matches = command.get_matches_from(["serve", "--database=postgres://h/d", &twice]);
    let fault = Settings::from_arg_matches(&matches).unwrap().with_secrets().unwrap_err();
    assert!(fault.contains("database and database_file are both given"), "{fault}");
}

#[test]
fn a_file_takes_dashes_underscores_and_lists() {
    let file = file(
        "max-ongoing-orders = 3\nmax_staleness = \"1s\"\nwebhook-allow = [\"127.0.0.1\", \"localhost\"]\n\
         stages = [\"payment\", \"shop\"]\nreplicas = [\n  \"postgres://a/d\",\n  \"postgres://b/d\",\n]\n",
    );
    let read = with_file(command(), file.path()).unwrap();
    let matches = read.clone().get_matches_from(["serve"]);
    let settings = Settings::from_arg_matches(&matches).unwrap();
    assert_eq!((settings.max_ongoing_orders, settings.servers.max_staleness.0.as_secs()), (3, 1));
    assert_eq!((settings.webhook_allow.len(), settings.servers.replicas.len()), (2, 2));
    assert!(settings.stages.contains(crate::lifecycle::Stage::Offer));
    let shown = in_force(&command(), &read, &matches);
    let of = |name: &str| shown.iter().find(|setting| setting.name == name).unwrap();
    assert_eq!(of("webhook_allow").value.as_deref(), Some("127.0.0.1,localhost"));
    assert_eq!(of("webhook_allow").source, "file");
}

#[test]
fn a_wrong_line_is_named_with_what_is_wrong() {
    for (text, line, why) in [
        ("\nleese = \"60s\"", 2, "did you mean `lease`?"),
        ("metrics_listen = \"127.0.0.1:1\"", 1, "did you mean `metrics_listener`?"),
        ("xyzzy = 1", 1, "there is no setting `xyzzy`"),
        ("# a\n# b\nlease = \"5 parsecs\"", 3, "`5 parsecs` is not taken"),
        ("readers = 2\nmax-ongoing-orders = 900", 2, "900 is not in 1..=50"),
        ("pace = \"slow\"", 1, "one of zero, fast, real"),
        ("listen = \"8080\"", 1, "`localhost:8080`"),
        ("lease = [\"1s\", \"2s\"]", 1, "takes one value"),
        ("lease = 2026-01-01", 1, "must be a string"),
        ("[lease]\nx = 1", 1, "must be a string"),
        ("readers = 2\nlease = ", 2, ""),
        ("max_staleness = \"1s\"\nmax-staleness = \"2s\"", 1, "twice"),
        ("database = \"mysql://u:p51@h/d\"", 1, "postgres://"),
    ] {
        let (fault, file) = refused(text);
        assert!(fault.starts_with(&format!("{file}:{line}: ")) && fault.contains(why), "{text}: {fault}");
        assert!(!fault.contains("p51") && !fault.contains('\n'), "{fault}");
    }
}

#[test]
fn a_file_with_secrets_is_refused_where_others_can_open_it() {
    use std::os::unix::fs::PermissionsExt;
    for (text, mode, is_fine) in [
        ("stripe_key = \"sk_test_51\"", 0o600, true),
        ("stripe_key = \"sk_test_51\"", 0o640, true),
        ("stripe-key = \"sk_test_51\"", 0o644, false),
        ("stripe_webhook_secrets = [\"whsec_51\"]", 0o604, false),
        ("database = \"postgres://u:p51@h/d\"", 0o644, false),
        ("replicas = [\"postgres://h/d\", \"postgres://h/d?password=p51\"]", 0o644, false),
        ("database = \"postgres://u@h/d\"\nlease = \"60s\"", 0o644, true),
    ] {
        let file = file(text);
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        match with_file(command(), file.path()) {
            Ok(_) => assert!(is_fine, "{text}"),
            Err(fault) => {
                let way_out = format!("chmod 600 {}", file.path().display());
                assert!(!is_fine && fault.contains(&way_out) && !fault.contains("51\""), "{text}: {fault}");
            }
        }
    }
}

#[test]
fn a_variable_that_no_command_reads_is_refused() {
    let check = |name: &str, value: &str| check_environment(&command(), [(name.to_owned(), value.to_owned())]);
    for (name, hint) in [
        ("LUNGO_LEESE", "did you mean LUNGO_LEASE?"),
        ("LUNGO_METRICS_LISTEN", "did you mean LUNGO_METRICS_LISTENER?"),
        ("LUNGO_DATABASE_URL", "did you mean LUNGO_DATABASE"),
        ("LUNGO_XYZZY_PLUGH", "lungo serve --help"),
        ("LUNGO_PORT", "there is no variable LUNGO_PORT"),
    ] {
        let fault = check(name, "8080").unwrap_err();
        assert!(fault.contains(name) && fault.contains(hint), "{fault}");
    }
    for (name, value) in [
        ("LUNGO_LEASE", "60s"),
        ("LUNGO_PARTNER_KEY", "of demo.env"),
        ("PATH", "/bin"),
        // Kubernetes makes these for a service of that name, and for one beside it.
        ("LUNGO_SERVICE_HOST", "10.0.0.1"),
        ("LUNGO_SERVICE_PORT_HTTP", "8080"),
        ("LUNGO_PORT", "tcp://10.0.0.1:8080"),
        ("LUNGO_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("LUNGO_POSTGRES_PORT_5432_TCP", "tcp://10.0.0.2:5432"),
    ] {
        assert_eq!(check(name, value), Ok(()), "{name}");
    }
}

#[test]
fn trusted_proxies_are_a_list_wherever_it_stands() {
    let trusted = |command: Command, given: &[&str]| {
        let matches = command.get_matches_from([&["serve"], given].concat());
        Settings::from_arg_matches(&matches).unwrap().trusted_proxies
    };
    let both: Vec<Network> = ["10.0.0.0/8", "::1"].map(|network| network.parse().unwrap()).into();
    assert_eq!(trusted(command(), &["--trusted-proxies=10.0.0.0/8,::1"]), both);
    let file = file("trusted-proxies = [\"10.0.0.0/8\", \"::1\"]\n");
    assert_eq!(trusted(with_file(command(), file.path()).unwrap(), &[]), both);
    assert_eq!(trusted(command(), &[]), [], "by default no header is believed");
    assert!(command().try_get_matches_from(["serve", "--trusted-proxies=proxy.example"]).is_err());
}
