//! Settings from outside: what is misspelt, misplaced or open to others is refused before anything starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::server::{Process, Server, lungo, run};

#[test]
fn what_is_misspelt_is_refused_by_every_command() {
    let directory = tempfile::tempdir().unwrap();
    for command in [&["serve"][..], &[], &["keys", "list"], &["lifecycle"]] {
        let mut misspelt = lungo();
        misspelt.args(command).env("LUNGO_DTAA", directory.path()).env("LUNGO_LISTEN", "127.0.0.1:0");
        misspelt.current_dir(directory.path());
        let (status, log) = run(misspelt);
        assert!(!status.success() && log.contains("LUNGO_DTAA: did you mean LUNGO_DATA?"), "{command:?}: {log}");
    }
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was begun");

    let file = directory.path().join("lungo.toml");
    fs::write(&file, "# Ours\nlisten = \"127.0.0.1:0\"\n\nmax-ongoing-ordres = 3\n").unwrap();
    let mut misspelt = lungo();
    misspelt.arg("--config").arg(&file).arg("--data").arg(directory.path());
    let (status, log) = run(misspelt);
    let place = format!("{}:4: ", file.display());
    assert!(!status.success() && log.contains(&place) && log.contains("`max_ongoing_orders`?"), "{log}");
}

#[test]
fn secrets_come_from_files_and_an_open_settings_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let key = write("key", "sk_test_5151\n", 0o600);
    // As platforms mount them.
    let hooks = write("hooks", "whsec_5252,whsec_5353\n", 0o444);
    let environment = [
        ("LUNGO_GATEWAY", "stripe"),
        ("LUNGO_STRIPE_URL", "http://127.0.0.1:9"),
        ("LUNGO_STRIPE_KEY_FILE", &*key),
        ("LUNGO_STRIPE_WEBHOOK_SECRETS_FILE", &*hooks),
    ];
    let server = Server::start_with(&[], &environment);
    let shown = server.with_key("LUNGO_ADMIN_KEY").get("/v1/admin/settings").expect(200).text;
    assert!(shown.contains(&key), "{shown}");
    assert!(!["5151", "5252", "5353"].iter().any(|part| shown.contains(part) || server.log().contains(part)));

    let both = [("LUNGO_STRIPE_KEY", "sk_test_5151"), ("LUNGO_STRIPE_KEY_FILE", &*key)];
    let config = write("lungo.toml", "stripe-key = \"sk_test_5151\"\n", 0o644);
    for (variables, why) in [
        (&[("LUNGO_STRIPE_KEY_FILE", "/nowhere")][..], "stripe_key_file: /nowhere: No such file".into()),
        (&both, "stripe_key and stripe_key_file are both given".into()),
        (&[("LUNGO_CONFIG", &*config)], format!("chmod 600 {config}")),
    ] {
        let mut refused = lungo();
        refused.args(["--listen=127.0.0.1:0", "--data"]).arg(directory.path().join("data"));
        refused.envs(variables.iter().copied());
        let (status, log) = run(refused);
        assert!(!status.success() && log.contains(&why) && !log.contains("5151"), "{why}: {log}");
    }
    assert!(!directory.path().join("data").exists(), "nothing was begun");
}

#[cfg(not(feature = "otlp"))]
#[test]
fn a_build_without_an_exporter_refuses_a_collector() {
    let directory = tempfile::tempdir().unwrap();
    let mut refused = lungo();
    refused.args(["--otlp-endpoint=http://127.0.0.1:4318", "--listen=127.0.0.1:0", "--data"]).arg(directory.path());
    let (status, log) = run(refused);
    assert!(!status.success() && log.contains("without the feature `otlp`"), "{log}");
}

#[test]
fn it_listens_at_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut named = lungo();
    named.args(["--listen=localhost:0", "--metrics-listener=localhost:0", "--data"]).arg(directory.path());
    let process = Process::listening(&mut named).unwrap_or_else(|log| panic!("{log}"));
    let is_loopback = process.url.starts_with("http://127.0.0.1:") || process.url.starts_with("http://[::1]:");
    assert!(is_loopback, "{}", process.url);
    drop(process);
    let mut nowhere = lungo();
    nowhere.args(["--listen=no-such-host.invalid:0", "--data"]).arg(directory.path());
    let (status, log) = run(nowhere);
    assert!(!status.success() && log.contains("cannot listen on no-such-host.invalid:0"), "{log}");
}

#[test]
fn help_shows_no_secret_and_explains_every_word() {
    let mut help = lungo();
    help.args(["serve", "--help"]).env("LUNGO_DATABASE", "postgres://u:p51@h/d").env("LUNGO_STRIPE_KEY", "sk_test_51");
    let (status, shown) = run(help);
    assert!(status.success() && shown.contains("--database-file") && !shown.contains("51"), "{shown}");
}
