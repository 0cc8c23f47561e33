//! What a client says of itself, where people decide: logo, home page, policy and terms. The logo comes from the client's own
//! site, over TLS.

use fantoccini::Locator;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::driver::Driver;
use crate::conformance::dynamic::{registered, with};
use crate::harness::{CALLBACK, Server, Store, poll, tls};

const LOGO: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 10 10" width="100" height="100"><rect width="10" height="10" fill="#7a3cff"/><circle cx="5" cy="5" r="3" fill="#fff"/></svg>"##;

/// A site that answers everything with a picture. Gives back its origin.
async fn site() -> String {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    tls::serve(made.cert.der().clone(), key, |mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Type: image/svg+xml\r\nConnection: close\r\nContent-Length: ";
        let _ = stream.write_all(format!("{head}{}\r\n\r\n{LOGO}", LOGO.len()).as_bytes()).await;
        let _ = stream.shutdown().await;
    })
    .await
}

pub async fn a_client_shows_its_logo_policy_and_terms(store: Store) {
    // OpenID Connect Dynamic Registration 2; the policy lets through that origin, and no other.
    let server = Server::start(store, &[("REGISTRATION_MODE", "open")]).await;
    let (origin, other) = (site().await, site().await);
    let metadata = json!({
        "client_name": "Holiday Photos",
        "client_uri": origin,
        "logo_uri": format!("{origin}/logo.svg"),
        "policy_uri": format!("{origin}/policy"),
        "tos_uri": format!("{origin}/terms"),
    });
    let answer = registered(&server, &with(metadata)).await;
    let user = server.user().await;
    let driver = Driver::start(&format!("logo-{store}")).await;
    let request = server.authorize_url(&[
        ("response_type", "code"),
        ("client_id", answer["client_id"].as_str().expect("an id")),
        ("redirect_uri", CALLBACK),
        ("scope", "openid profile email"),
    ]);
    driver.open(&request).await;
    driver.sign_in(&user.username, &user.password).await;
    let width = "return document.getElementById('client-logo')?.naturalWidth ?? 0";
    poll::until("the logo is there", async || {
        let width = driver.client.execute(width, vec![]).await.ok()?;
        width.as_i64().is_some_and(|width| width > 0).then_some(())
    })
    .await;
    for (id, path) in [("client-policy", "policy"), ("client-tos", "terms")] {
        let link = driver.client.find(Locator::Id(id)).await.expect("a link");
        assert_eq!(link.attr("href").await.expect("an attribute"), Some(format!("{origin}/{path}")));
    }
    // RFC 7591 5: nobody else has said who it is.
    assert!(driver.text("client-not-vouched").await.contains("registered itself"));
    driver.picture("consent-with-logo").await;
    // A picture of another origin is not loaded on this page.
    let script = "const done = arguments[arguments.length - 1]; const image = new Image();
        image.onload = () => done('loaded'); image.onerror = () => done('refused'); image.src = arguments[0];";
    let loaded = driver.client.execute_async(script, vec![json!(format!("{other}/x"))]).await.expect("an answer");
    assert_eq!(loaded, "refused");
    let loaded = driver.client.execute_async(script, vec![json!(format!("{origin}/x"))]).await.expect("an answer");
    assert_eq!(loaded, "loaded");
}
