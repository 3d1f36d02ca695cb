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
