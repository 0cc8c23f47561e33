//! Headless Chromium through chromedriver: starting it, finding things, screenshots.

use std::{
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use fantoccini::{Client, ClientBuilder, Locator, elements::Element, error::CmdError, wd::WebDriverCompatibleCommand};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::harness::{poll, server::free_port, site};

/// A browser of its own, ended with this value.
pub struct Driver {
    pub client: Client,
    /// Names the screenshots.
    name: String,
    driver: Child,
    port: u16,
    session: String,
    profile: tempfile::TempDir,
}

/// A command of Chromium's own protocol, which chromedriver passes on.
#[derive(Debug)]
struct Devtools(&'static str, Value);

impl WebDriverCompatibleCommand for Devtools {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/goog/cdp/execute", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "cmd": self.0, "params": self.1 }).to_string()))
    }
}

/// What the browser has asked the network for since this was last asked.
#[derive(Debug)]
struct Network;

impl WebDriverCompatibleCommand for Network {
    fn endpoint(&self, base: &url::Url, session: Option<&str>) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(json!({ "type": "performance" }).to_string()))
    }
}

impl Driver {
    pub async fn start(name: &str) -> Driver {
        Self::with(name, json!({})).await
    }

    /// One that writes down what it asks the network for.
    pub async fn watching(name: &str) -> Driver {
        Self::with(name, json!({ "performance": "ALL" })).await
    }

    async fn with(name: &str, logs: Value) -> Driver {
        let port = free_port();
        let log = site::artefacts().join(format!("chromedriver-{name}.log"));
        let profile = tempfile::tempdir().expect("a directory for the profile");
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdout(fs::File::create(log).expect("a log"))
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is missing: run tests/run browser, or apt-get install chromium chromium-driver");
        let url = format!("http://127.0.0.1:{port}");
        let capabilities = capabilities(&profile.path().display().to_string(), &logs);
        let client = poll::until("chromedriver starts a browser", async || {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            builder.capabilities(capabilities.clone()).connect(&url).await.ok()
        })
        .await;
        let session = client.session_id().await.expect("chromedriver answers").expect("a session");
        Driver { client, name: name.to_owned(), driver, port, session, profile }
    }

    pub async fn open(&self, url: &str) {
        self.client.goto(url).await.expect("the page opens");
    }

    /// The element with that id, once it is there.
    pub async fn element(&self, id: &str) -> Element {
        poll::until(&format!("an element with the id {id}"), async || self.client.find(Locator::Id(id)).await.ok())
            .await
    }

    pub async fn has(&self, id: &str) -> bool {
        self.client.find(Locator::Id(id)).await.is_ok()
    }

    pub async fn text(&self, id: &str) -> String {
        self.element(id).await.text().await.expect("its text")
    }

    /// Clicks what leads to another page.
    pub async fn click(&self, id: &str) {
        self.follow(self.element(id).await, id).await;
    }

    /// The same with an element. The answer to a click may come while the page still stands that is about to be left, and
    /// an element of the same id stand on both; what was clicked is gone with its page.
    pub async fn follow(&self, element: Element, what: &str) {
        element.click().await.unwrap_or_else(|error| panic!("{what} cannot be clicked: {error}"));
        poll::until(&format!("{what} leads to another page"), async || element.tag_name().await.err()).await;
    }

    /// What the browser has asked the network for since this was last asked; of one that is watched.
    pub async fn network(&self) -> String {
        let asked: Result<Value, CmdError> = self.client.issue_cmd(Network).await;
        asked.expect("the log of a browser that is watched").to_string()
    }

    /// The window that is not this one, once it is there; it is driven from now on.
    pub async fn other_window(&self) {
        let here = self.client.window().await.expect("a window");
        let other = poll::until("another window", async || {
            self.client.windows().await.ok()?.into_iter().find(|window| *window != here)
        });
        self.client.switch_to_window(other.await).await.expect("the other window");
    }

    pub async fn write(&self, id: &str, text: &str) {
        let element = self.element(id).await;
        element.clear().await.expect("it can be emptied");
        element.send_keys(text).await.unwrap_or_else(|error| panic!("{id} takes no text: {error}"));
    }

    pub async fn sign_in(&self, username: &str, password: &str) {
        self.write("username", username).await;
        if !password.is_empty() {
            self.write("password", password).await;
        }
        self.click("login-submit").await;
    }

    /// Waits until the address fulfils `wanted`, and gives it back.
    pub async fn arrives(&self, what: &str, wanted: impl Fn(&url::Url) -> bool) -> url::Url {
        poll::until(&format!("the browser arrives at {what}"), async || {
            self.client.current_url().await.ok().filter(|url| wanted(url))
        })
        .await
    }

    /// Four pictures of the page: desktop and mobile, light and dark. Checks that nothing sticks out sideways, that
    /// every field has a label, and that the page does without a script of its own.
    pub async fn picture(&self, page: &str) {
        for (device, width, height) in [("desktop", 1280, 900), ("mobile", 390, 844)] {
            let mobile = device == "mobile";
            let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile });
            self.devtools("Emulation.setDeviceMetricsOverride", size).await;
            for scheme in ["light", "dark"] {
                // Without motion, or the picture is taken half way between two colours.
                let features = [("prefers-color-scheme", scheme), ("prefers-reduced-motion", "reduce")];
                let media =
                    json!({ "features": features.map(|(name, value)| json!({ "name": name, "value": value })) });
                self.devtools("Emulation.setEmulatedMedia", media).await;
                self.save(&format!("{}-{page}-{device}-{scheme}.png", self.name)).await;
            }
            let script = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            let overflow = self.client.execute(script, vec![]).await.expect("a number");
            assert!(overflow.as_i64().is_some_and(|pixels| pixels <= 0), "{page} sticks out by {overflow} on {device}");
        }
        self.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await;
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": [] })).await;
        let script = "return [...document.querySelectorAll('input:not([type=hidden]), textarea, select')]
            .filter(field => !field.labels?.length && !field.ariaLabel && field.ariaHidden !== 'true')
            .map(field => field.name)";
        let unlabelled = self.client.execute(script, vec![]).await.expect("a list");
        assert_eq!(unlabelled, json!([]), "fields without a label on {page}");
    }

    async fn save(&self, file: &str) {
        let directory = screens();
        fs::create_dir_all(&directory).expect("a directory for screenshots");
        let picture = self.client.screenshot().await.expect("a picture");
        fs::write(directory.join(file), picture).expect("the picture is written");
    }

    async fn devtools(&self, command: &'static str, parameters: Value) {
        let sent: Result<Value, CmdError> = self.client.issue_cmd(Devtools(command, parameters)).await;
        sent.unwrap_or_else(|error| panic!("{command}: {error}"));
    }
}

impl Driver {
    /// Ends the session without the runtime, so that a case that failed leaves no browser behind either: chromedriver
    /// ends without its browsers when it is killed.
    fn end_session(&self) -> io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let head = format!("DELETE /session/{} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", self.session);
        stream.write_all(head.as_bytes())?;
        stream.read(&mut [0; 1024]).map(drop)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Err(error) = self.end_session() {
            eprintln!("a browser may be left behind: {error}");
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        let _ = fs::remove_dir_all(self.profile.path());
    }
}

fn screens() -> PathBuf {
    site::artefacts().join("screens")
}

fn capabilities(profile: &str, logs: &Value) -> serde_json::Map<String, Value> {
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--window-size=1280,900",
        &format!("--user-data-dir={profile}"),
    ];
    let options = json!({ "args": arguments });
    // Sites of clients have certificates of their own making here.
    let capabilities = json!({
        "browserName": "chrome",
        "acceptInsecureCerts": true,
        "goog:chromeOptions": options,
        "goog:loggingPrefs": logs,
    });
    capabilities.as_object().expect("an object").clone()
}
