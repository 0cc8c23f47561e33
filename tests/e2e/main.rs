//! End-to-end tests: the real binary over HTTP, on SQLite and on PostgreSQL. Run them with `tests/run e2e`.
//!
//! One binary with a main of its own, so that after the last case it can ask the servers whether their read models
//! still equal the log, stop them, and search everything they left behind for every secret they handed out.

mod archive;
mod authlib;
mod browser;
mod client_metadata;
mod command_line;
mod concurrency;
mod conformance;
mod demo;
mod forged;
mod harness;
mod http;
mod leftovers;
mod names;
mod nodes;
mod oauth;
mod oauth2_crate;
mod openidconnect_crate;
mod operator;
mod operator_lists;
mod pages;
mod peppers;
mod readme;
mod resource;
mod roles;
mod upgrade;
mod vouching;

use std::{fs, process::ExitCode};

use harness::{
    postgres, site,
    suite::{self, Case},
};
use libtest_mimic::Arguments;

/// Every module's cases.
const CASES: &[&[&[Case]]] = &[
    oauth::authorize::CASES,
    oauth::prompt::CASES,
    oauth::consent::CASES,
    oauth::redirect_uri::CASES,
    oauth::open_redirect::CASES,
    oauth::pkce::CASES,
    oauth::implicit::CASES,
    oauth::token::CASES,
    oauth::token::authorization_code::CASES,
    oauth::token::client_credentials::CASES,
    oauth::token::password::CASES,
    oauth::token::refresh_token::CASES,
    oauth::revoke::CASES,
    oauth::scope::CASES,
    oauth::introspect::CASES,
    oauth::userinfo::CASES,
    oauth::jwt_access_token::CASES,
    oauth::metadata::CASES,
    conformance::core::CASES,
    conformance::parameters::CASES,
    conformance::claims::CASES,
    conformance::subjects::CASES,
    conformance::codes::CASES,
    conformance::request_objects::CASES,
    conformance::config::CASES,
    conformance::key_rotation::CASES,
    conformance::logout::CASES,
    conformance::frontchannel::CASES,
    conformance::backchannel::CASES,
    conformance::session::CASES,
    conformance::tampered::CASES,
    conformance::dynamic::CASES,
    client_metadata::CASES,
    names::CASES,
    forged::CASES,
    http::client_auth::CASES,
    http::client_assertion::CASES,
    http::bearer::CASES,
    http::form::CASES,
    http::cross_origin::CASES,
    http::issuer_path::CASES,
    http::limits::CASES,
    http::observability::CASES,
    http::operations::CASES,
    http::remote_tls::CASES,
    pages::sign_in::CASES,
    pages::accounts::CASES,
    pages::consent::CASES,
    pages::account::CASES,
    pages::forms::CASES,
    pages::clients::CASES,
    pages::headers::CASES,
    pages::tabs::CASES,
    command_line::CASES,
    operator::CASES,
    operator_lists::CASES,
    peppers::CASES,
    readme::CASES,
    archive::CASES,
    roles::CASES,
    concurrency::CASES,
    nodes::CASES,
    demo::CASES,
    upgrade::CASES,
    vouching::CASES,
    oauth2_crate::CASES,
    openidconnect_crate::CASES,
    resource::CASES,
    authlib::CASES,
    browser::CASES,
    browser::logout::CASES,
    browser::onward::CASES,
    browser::popup::CASES,
    browser::tabs::CASES,
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !arguments.list {
        // What an earlier run left would be searched as if it were of this one.
        let _ = fs::remove_dir_all(site::artefacts());
    }
    let cases = CASES.iter().copied().flatten().copied().flatten();
    let conclusion = libtest_mimic::run(&arguments, suite::trials(cases));
    if arguments.list {
        return conclusion.exit_code();
    }
    // One after the other, and whatever was filtered before.
    let after = Arguments { test_threads: Some(1), ..Arguments::default() };
    let leftovers = libtest_mimic::run(&after, leftovers::trials());
    postgres::drop_templates();
    if conclusion.has_failed() { conclusion.exit_code() } else { leftovers.exit_code() }
}
