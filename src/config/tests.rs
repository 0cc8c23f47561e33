//! Precedence, unknown keys, limits, and the example file.

use std::net::IpAddr;
use std::path::Path;

use super::example::example;
use super::layers::Values;
use super::table::{Kind, SETTINGS, environment_name};
use super::*;

fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect::<Vec<_>>().into_iter()
}

fn from_toml(text: &str) -> Result<Settings, ConfigError> {
    let mut values = Values::defaults();
    values.toml(text, Path::new("grantlog.toml"))?;
    Settings::from_values(&values)
}

fn message<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
    result.expect_err("it must be refused").to_string()
}

#[test]
fn flags_beat_environment_beats_file_beats_default() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("settings.toml");
    std::fs::write(&file, "listen = '127.0.0.1:1'\n[http]\nparameters = 11\nheaders = 22\nbody_bytes = 2222\n")
        .unwrap();
    let environment = env(&[("GRANTLOG_LISTEN", "127.0.0.1:2"), ("GRANTLOG_HTTP_HEADERS", "33"), ("HOME", "/nowhere")]);
    let flags = [("listen", "127.0.0.1:3".to_owned())];
    let settings = Settings::from_layers(Some(&file), environment, &flags).unwrap();
    assert_eq!(settings.listen.port(), 3);
    assert_eq!(settings.http.headers, 33);
    assert_eq!(settings.http.parameters, 11);
    assert_eq!(settings.http.body_bytes, 2222);
    assert_eq!(settings.oauth.code_lifetime, Duration::from_secs(60));
}

#[test]
fn an_unknown_key_is_an_error_that_names_the_nearest() {
    let refused = |text: &str| message(from_toml(text));
    assert_eq!(refused("lisen = 'x'"), "unknown setting `lisen` in grantlog.toml; did you mean `listen`?");
    assert!(refused("[oauth]\ncode_lifetime = 5").contains("`oauth.code_lifetime_seconds`"));
    assert!(refused("[store]\nbody_bytes = 5").contains("did you mean `http.body_bytes`"));
    assert!(refused("[nonsense]").contains("unknown setting `nonsense`"));
    assert!(refused("[http.deeper]\nheaders = 5").contains("unknown setting `http.deeper.headers`"));
    let misspelt = Settings::from_layers(None, env(&[("GRANTLOG_LISTENS", "x")]), &[]);
    assert_eq!(
        message(misspelt),
        "unknown setting `GRANTLOG_LISTENS` in the environment; did you mean `GRANTLOG_LISTEN`?"
    );
}

#[test]
fn every_number_is_held_against_its_limit() {
    for setting in SETTINGS {
        let Kind::Number { min, max, .. } = setting.kind else { continue };
        for wrong in [min - 1, max + 1] {
            let text = message(Settings::with(&[(setting.key, &wrong.to_string())]));
            assert!(text.contains(&format!("from {min} to {max}")), "{text}");
            assert!(text.contains(setting.key), "{text}");
        }
        for right in [min, max] {
            let mut values = Values::defaults();
            values.flag(setting.key, &right.to_string()).unwrap();
        }
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_refused() {
    assert!(message(from_toml("demo = 'yes'")).contains("must be true or false, not string"));
    assert!(message(from_toml("[http]\nheaders = '5'")).contains("a whole number from 16 to 256 (header lines)"));
    assert!(message(from_toml("[log]\nformat = 'xml'")).contains("one of \"text\", \"json\""));
    assert!(message(from_toml("[http]\ntrusted_proxies = [5]")).contains("must be a text"));
    assert!(message(from_toml("[http]\ntrusted_proxies = ['here']")).contains("\"here\" is neither"));
    assert!(message(from_toml("listen = 'localhost'")).contains("127.0.0.1:5000"));
    assert!(message(from_toml("[log]\nlevel = 'loud=very'")).contains("must be a level"));
    assert!(message(from_toml("listen = ")).contains("not valid TOML: line 1, column 10: "));
    assert!(message(Settings::with(&[("demo", "on")])).contains("from --demo: must be true or false"));
}

#[test]
fn the_example_names_every_setting_with_its_default() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("grantlog.example.toml");
    if std::env::var_os("GRANTLOG_TEST_WRITE_EXAMPLE").is_some() {
        std::fs::write(&committed, example()).unwrap();
    }
    let text = std::fs::read_to_string(&committed).unwrap();
    assert_eq!(text, example(), "run this test with GRANTLOG_TEST_WRITE_EXAMPLE=1 to write the file anew");

    let mut values = Values::defaults();
    values.toml(&text, &committed).unwrap();
    let document: toml::Table = text.parse().unwrap();
    for setting in SETTINGS {
        assert_eq!(values.value(setting.key), Values::defaults().value(setting.key), "{}", setting.key);
        let given = match setting.key.split_once('.') {
            Some((section, name)) => document[section].get(name),
            None => document.get(setting.key),
        };
        assert!(given.is_some(), "{} is missing", setting.key);
    }
    Settings::from_values(&values).unwrap();
}

#[test]
fn every_setting_of_the_table_is_read() {
    let values = Values::defaults();
    Settings::from_values(&values).unwrap();
    for setting in SETTINGS {
        assert!(values.read.borrow().contains(setting.key), "nothing reads {}", setting.key);
    }
}

#[test]
fn names_in_the_environment_are_unique() {
    let names: std::collections::BTreeSet<_> = SETTINGS.iter().map(|setting| environment_name(setting.key)).collect();
    assert_eq!(names.len(), SETTINGS.len());
}

#[test]
fn the_issuer_follows_the_port_that_was_taken() {
    let settings = Settings::with(&[("listen", "127.0.0.1:0")]).unwrap();
    let bound = settings.bound_to("127.0.0.1:4321".parse().unwrap());
    assert_eq!(bound.issuer.as_str(), "http://127.0.0.1:4321");
    let named = Settings::with(&[("listen", "127.0.0.1:0"), ("issuer", "http://localhost:7")]).unwrap();
    assert_eq!(named.bound_to("127.0.0.1:4321".parse().unwrap()).issuer.as_str(), "http://localhost:7");
}

#[test]
fn an_issuer_that_others_could_read_along_is_refused() {
    let issuer = |text: &str| text.parse::<Issuer>();
    assert_eq!(issuer("https://id.example.org/").unwrap().as_str(), "https://id.example.org");
    assert_eq!(issuer("http://[::1]:5000").unwrap().as_str(), "http://[::1]:5000");
    for (text, path) in [
        ("https://example.org/auth", "/auth"),
        ("https://example.org:8443/a/b-c.d/", "/a/b-c.d"),
        ("https://example.org", ""),
    ] {
        let issuer = issuer(text).unwrap();
        assert_eq!((issuer.as_str(), issuer.path()), (text.trim_end_matches('/'), path));
        assert_eq!(issuer.authority(), if text.contains("8443") { "example.org:8443" } else { "example.org" });
    }
    for wrong in [
        "http://id.example.org",
        "https://id.example.org/?a=b",
        "https://id.example.org//",
        "https://id.example.org/a//b",
        "https://id.example.org/a/../b",
        "https://id.example.org/%61",
        "https://id.example.org/a b",
        "https://id.example.org/a;b",
        "https://id.example.org/#a",
        "https://ann@id.example.org",
        "ftp://localhost",
        "id.example.org",
        "http://localhost.example.org",
    ] {
        assert!(issuer(wrong).is_err(), "{wrong}");
    }
    assert!(message(Settings::with(&[("listen", "0.0.0.0:5000")])).contains("must be set"));
}

#[test]
fn plain_http_is_for_loopback_or_behind_a_named_proxy() {
    let public = ("issuer", "https://id.example.org");
    assert!(message(Settings::with(&[public]).unwrap().check_transport()).contains("http.trusted_proxies"));
    Settings::with(&[public, ("http.trusted_proxies", "10.0.0.7")]).unwrap().check_transport().unwrap();
    let files = [public, ("tls.cert_file", "cert.pem"), ("tls.key_file", "key.pem")];
    Settings::with(&files).unwrap().check_transport().unwrap();
    Settings::with(&[]).unwrap().check_transport().unwrap();
    assert!(message(Settings::with(&files[..2])).contains("tls.key_file must be set too"));
}

#[test]
fn the_demo_is_refused_away_from_loopback() {
    let demo = Settings::with(&[("demo", "true")]).unwrap();
    assert_eq!(demo.database.to_string(), "sqlite:grantlog-demo.db");
    // The same for a command that only names the database.
    let command = Settings::with(&[("database", "sqlite:grantlog-demo.db")]).unwrap();
    for settings in [&demo, &command] {
        assert!(format!("{:?}", settings.pepper).contains("grantlog-demo.pepper"), "{:?}", settings.pepper);
    }
    let named = Settings::with(&[("demo", "true"), ("database", "sqlite:mine.db")]).unwrap();
    assert_eq!(named.database.to_string(), "sqlite:mine.db");
    let elsewhere = [("demo", "true"), ("listen", "0.0.0.0:5000"), ("issuer", "http://localhost:5000")];
    assert!(message(Settings::with(&elsewhere)).contains("loopback address only"));
    let proxied = [("demo", "true"), ("issuer", "https://id.example.org")];
    assert!(message(Settings::with(&proxied)).contains("loopback address only"));
}

#[test]
fn a_database_url_is_printed_without_its_password() {
    let settings = Settings::with(&[("database", "postgres://ann:hunter2@db/grantlog?password=hunter2")]).unwrap();
    assert_eq!(settings.database.to_string(), "postgres://ann:***@db/grantlog");
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(settings.database.expose().contains("hunter2"));
    for wrong in ["mysql://x", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro", "grantlog.db"] {
        let text = message(Settings::with(&[("database", wrong)]));
        assert!(text.starts_with("`database` from --database: "), "{text}");
    }
}

fn pepper_file(settings: &Settings) -> &Path {
    match &settings.pepper {
        PepperSource::File(path) => path,
        PepperSource::Text(_) => panic!("not a file"),
    }
}

#[test]
fn the_pepper_lies_beside_the_sqlite_file() {
    for (database, pepper) in [
        ("sqlite:data/log.db", "data/grantlog.pepper"),
        ("sqlite:///srv/log.db", "/srv/grantlog.pepper"),
        ("postgres://db/grantlog", "grantlog.pepper"),
    ] {
        assert_eq!(pepper_file(&Settings::with(&[("database", database)]).unwrap()), Path::new(pepper));
    }
    let named = Settings::with(&[("pepper_file", "/run/secrets/pepper")]).unwrap();
    assert_eq!(pepper_file(&named), Path::new("/run/secrets/pepper"));
}

#[test]
fn the_environment_may_hold_the_peppers_themselves() {
    let settings = Settings::from_layers(None, env(&[("GRANTLOG_PEPPER", "1 hunter2")]), &[]).unwrap();
    assert!(matches!(settings.pepper, PepperSource::Text(_)));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn proxies_are_believed_in_one_header() {
    let settings = Settings::with(&[("http.trusted_proxies", "10.0.0.7")]).unwrap();
    assert_eq!(settings.http.trusted_proxies.header(), ForwardedHeader::XForwardedFor);
    let named = [("http.trusted_proxies", "10.0.0.7"), ("http.forwarded_header", "forwarded")];
    assert_eq!(Settings::with(&named).unwrap().http.trusted_proxies.header(), ForwardedHeader::Forwarded);
}

#[test]
fn an_event_keeps_as_much_of_the_address_as_the_setting_says() {
    let v4: IpAddr = "203.0.113.9".parse().unwrap();
    let v6: IpAddr = "2001:db8:1:2::9".parse().unwrap();
    assert_eq!(SourceAddress::Truncated.keep(v4).unwrap(), "203.0.113.0/24");
    assert_eq!(SourceAddress::Truncated.keep(v6).unwrap(), "2001:db8:1::/48");
    assert_eq!(SourceAddress::Whole.keep(v6).unwrap(), "2001:db8:1:2::9");
    assert_eq!(SourceAddress::None.keep(v4), None);
}

#[test]
fn a_grant_outlives_its_tokens() {
    let short = Settings::with(&[("oauth.grant_lifetime_seconds", "60")]);
    assert!(message(short).contains("must not be shorter"));
}

#[test]
fn a_syntax_error_does_not_show_the_line() {
    for text in [
        "database = \"postgres://grantlog:hush-hush@db.example/grantlog",
        "database = postgres://grantlog:hush-hush@db.example/grantlog",
        "listen = \"127.0.0.1:1\"\ndatabase \"postgres://grantlog:hush-hush@db.example/grantlog\"",
        "[registration]\ninitial_access_tokens = [\"ci:hush-hush\" \"b:hush-hush\"]",
        "database = 'postgres://hush-hush'\ndatabase = 'postgres://hush-hush'",
        "database = \"\\hush-hush\"",
        "database = hush-hush",
        "http.body_bytes = 0xhush-hush",
    ] {
        let said = message(from_toml(text));
        assert!(said.contains("not valid TOML: line ") && !said.contains("hush"), "{said}");
    }
}

#[test]
fn a_mistyped_level_is_refused() {
    let level = |text: &str| Settings::with(&[("log.level", text)]);
    for text in ["inof", "info,debgu", "grantlog::http", "", "info,", "grantlog=inof", "info grantlog=debug"] {
        assert!(message(level(text)).contains("must be a level"), "{text}");
    }
    for text in ["info", "WARN", "off", "info,grantlog::http=debug", "grantlog=debug", "warn, grantlog::http=trace"] {
        assert!(level(text).is_ok(), "{text}");
    }
}

#[test]
fn what_kubernetes_puts_there_for_a_service_is_no_setting() {
    let with = |names: &[(&str, &str)]| Settings::from_layers(None, env(names), &[]);
    let all = [
        ("GRANTLOG_SERVICE_HOST", "10.0.171.239"),
        ("GRANTLOG_SERVICE_PORT", "5000"),
        ("GRANTLOG_SERVICE_PORT_HTTP", "5000"),
        ("GRANTLOG_PORT", "tcp://10.0.171.239:5000"),
        ("GRANTLOG_PORT_5000_TCP", "tcp://10.0.171.239:5000"),
        ("GRANTLOG_PORT_5000_TCP_PROTO", "tcp"),
        ("GRANTLOG_PORT_5000_TCP_PORT", "5000"),
        ("GRANTLOG_PORT_5000_TCP_ADDR", "10.0.171.239"),
        ("GRANTLOG_DB_SERVICE_HOST", "fd00::7"),
        ("GRANTLOG_DB_PORT", "udp://[fd00::7]:5432"),
        ("GRANTLOG_DB_PORT_5432_UDP_ADDR", "fd00::7"),
    ];
    let settings = with(&all).unwrap();
    assert_eq!(settings.passed_over.len(), all.len());
    for wrong in [
        ("GRANTLOG_PORT", "5000"),
        ("GRANTLOG_SERVICE_HOST", "db.example"),
        ("GRANTLOG_SERVICE_PORT", "tcp"),
        ("GRANTLOG_PORT_HTTP_TCP", "tcp://10.0.0.1:1"),
        ("GRANTLOG_PORT_5000_TLS_ADDR", "10.0.0.1"),
        ("GRANTLOG_LISTENN", "127.0.0.1:1"),
    ] {
        let said = message(with(&[wrong]));
        assert!(said.contains("unknown setting") && said.contains(wrong.0), "{said}");
    }
}
