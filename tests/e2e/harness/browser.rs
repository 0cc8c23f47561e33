//! A browser stand-in: cookies, redirects within the server, forms. It stops where a redirect leaves the server.

use std::collections::{BTreeMap, HashMap};

use url::Url;

use super::{Answer, Server, User, html, http::Request};

/// One person's browser. Its cookies are sent to the server only.
#[derive(Clone)]
pub struct Browser {
    server: Server,
    pub cookies: BTreeMap<String, String>,
}

/// Where the browser stands: a page, or a redirect that leaves the server.
#[derive(Clone, Debug)]
pub struct Page {
    pub answer: Answer,
}

/// More redirects than this in a row are a loop.
const REDIRECTS_MAX: usize = 10;

impl Browser {
    pub fn new(server: &Server) -> Browser {
        Browser { server: server.clone(), cookies: BTreeMap::new() }
    }

    /// A browser in which `user` is signed in.
    pub async fn signed_in(server: &Server, user: &User) -> Browser {
        let mut browser = Browser::new(server);
        let page = browser.open("/login").await;
        let page = browser.fill_in_login(&page, user).await;
        assert!(page.form("login-form").is_none(), "the sign-in was refused: {}", page.answer);
        browser
    }

    /// The same browser at another server (another node of the same site).
    pub fn at(&self, server: &Server) -> Browser {
        Browser { server: server.clone(), cookies: self.cookies.clone() }
    }

    /// One request with the cookies, without following anything.
    pub async fn send(&mut self, request: Request) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header("cookie", &cookies.join("; ")) };
        let answer = request.send().await;
        for cookie in answer.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok()) {
            self.keep(cookie);
        }
        answer
    }

    fn keep(&mut self, cookie: &str) {
        let mut parts = cookie.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let ended = parts.any(|part| part.eq_ignore_ascii_case("max-age=0"));
        if ended || value.is_empty() {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Opens a path or URL of the server, following redirects as long as they stay there.
    pub async fn open(&mut self, path: &str) -> Page {
        let request = self.server.get(path);
        let answer = self.send(request).await;
        self.follow(answer).await
    }

    /// Follows redirects as long as they stay at the server.
    pub async fn follow(&mut self, mut answer: Answer) -> Page {
        for _ in 0..REDIRECTS_MAX {
            match answer.location() {
                Some(next) if matches!(answer.status, 302 | 303) && self.is_own(&next) => {
                    let request = self.server.get(next.as_str());
                    answer = self.send(request).await;
                }
                _ => return Page { answer },
            }
        }
        panic!("more than {REDIRECTS_MAX} redirects in a row, the last to {}", answer.url);
    }

    fn is_own(&self, url: &Url) -> bool {
        url.origin() == Url::parse(self.server.base()).expect("a base").origin()
    }

    /// Sends a form of the page: its own fields, those given in their place, and the button with that id.
    pub async fn submit(&mut self, page: &Page, form: &str, button: &str, fields: &[(&str, &str)]) -> Page {
        let answer = self.submit_once(page, form, button, fields).await;
        self.follow(answer).await
    }

    /// As [`Browser::submit`], without following the answer.
    pub async fn submit_once(&mut self, page: &Page, form: &str, button: &str, fields: &[(&str, &str)]) -> Answer {
        let form = page.form(form).unwrap_or_else(|| panic!("no form {form:?} in {}", page.answer));
        self.submit_form(page, &form, button, fields).await
    }

    /// As [`Browser::submit_once`], for a form without an id.
    pub async fn submit_form(
        &mut self,
        page: &Page,
        form: &html::Form,
        button: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        let given: HashMap<&str, &str> = fields.iter().copied().collect();
        let mut sent: Vec<(&str, &str)> =
            form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        sent.retain(|(name, _)| !given.contains_key(name));
        sent.extend(fields);
        if !button.is_empty() {
            let (_, value) = form.buttons.iter().find(|(id, _)| id == button).unwrap_or_else(|| {
                panic!("no button {button:?} in {form:?}");
            });
            sent.extend(value.as_ref().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        let action = page.answer.url.join(&form.action).expect("an action that is a URL");
        let request = match form.method.as_str() {
            "post" => self.server.post(action.as_str()).form(&sent),
            _ => {
                let mut action = action;
                action.set_query(Some(&super::http::encode(&sent)));
                self.server.get(action.as_str())
            }
        };
        // A browser says where a form comes from.
        let origin = Url::parse(self.server.base()).expect("a base").origin().ascii_serialization();
        let request = request.header("origin", &origin);
        self.send(request).await
    }

    /// Presses the button with that id, wherever it stands, with its form as it is.
    pub async fn press(&mut self, page: &Page, button: &str) -> Page {
        let answer = self.submit_form(page, &page.form_of(button), button, &[]).await;
        self.follow(answer).await
    }

    pub async fn fill_in_login(&mut self, page: &Page, user: &User) -> Page {
        let fields = [("username", user.username.as_str()), ("password", user.password.as_str())];
        self.submit(page, "login-form", "login-submit", &fields).await
    }

    /// Opens an authorization request and does what a willing user would: signs in, allows. Gives back where it ends.
    pub async fn authorize(&mut self, url: &str, user: &User) -> Page {
        let mut page = self.open(url).await;
        if page.form("login-form").is_some() {
            page = self.fill_in_login(&page, user).await;
        }
        if page.form("consent-form").is_some() {
            page = self.submit(&page, "consent-form", "consent-allow", &[]).await;
        }
        page
    }
}

impl Page {
    pub fn form(&self, id: &str) -> Option<html::Form> {
        html::forms(&self.answer.text()).into_iter().find(|form| form.id == id)
    }

    /// The form that holds the button with that id.
    #[track_caller]
    pub fn form_of(&self, button: &str) -> html::Form {
        let forms = html::forms(&self.answer.text());
        let form = forms.into_iter().find(|form| form.buttons.iter().any(|(id, _)| id == button));
        form.unwrap_or_else(|| panic!("no button {button:?} in a form: {}", self.answer))
    }

    /// The text of the element with that id.
    pub fn text_of(&self, id: &str) -> Option<String> {
        html::text(&self.answer.text(), id)
    }

    /// Whether the page greets somebody by name.
    pub fn is_signed_in(&self) -> bool {
        self.text_of("signed-in-as").is_some()
    }

    /// Where the link with that id leads.
    pub fn link(&self, id: &str) -> Option<Url> {
        let link = html::element(&self.answer.text(), id)?;
        let href = link.get("href").filter(|_| link.name == "a")?.to_owned();
        Some(self.answer.url.join(&href).unwrap_or_else(|error| panic!("{href:?}: {error}")))
    }

    /// The page that asks before somebody goes to a client that nobody vouched for (RFC 9700 4.11.2).
    pub fn asks_before_leaving(&self) -> bool {
        self.answer.status == 200 && self.text_of("leaving").is_some() && self.answer.header("location").is_none()
    }

    /// Where the browser leaves the server for: by a redirect, or by the click on the page that asks first.
    #[track_caller]
    pub fn onward(&self) -> Url {
        self.link("continue").filter(|_| self.asks_before_leaving()).unwrap_or_else(|| self.callback())
    }

    /// The redirect that leaves the server.
    #[track_caller]
    pub fn callback(&self) -> Url {
        assert!(matches!(self.answer.status, 302 | 303), "no redirect to the client but {}", self.answer);
        self.answer.location().unwrap_or_else(|| panic!("no Location: {}", self.answer))
    }

    /// RFC 6749 4.1.2.1: told to the user on a page, and never by a redirect.
    #[track_caller]
    pub fn expect_error_page(&self, error: &str) {
        assert!((400..500).contains(&self.answer.status), "not an error: {}", self.answer);
        assert_eq!(self.answer.header("location"), None, "redirected: {}", self.answer);
        let text = self.text_of("error-page").unwrap_or_else(|| panic!("no error page: {}", self.answer));
        assert!(text.contains(error), "the error page does not say {error}: {text}");
    }
}

/// The parameters in a callback's query.
pub fn query_of(url: &Url) -> HashMap<String, String> {
    url.query_pairs().into_owned().collect()
}

/// The parameters in a callback's fragment.
pub fn fragment_of(url: &Url) -> HashMap<String, String> {
    form_urlencoded::parse(url.fragment().unwrap_or_default().as_bytes()).into_owned().collect()
}
