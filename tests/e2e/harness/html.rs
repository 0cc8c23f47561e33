//! Just enough HTML to fill in a form as a browser would: forms, their fields and buttons, and elements by id.

use std::collections::HashMap;

/// A start tag and what it says.
#[derive(Debug, Clone)]
pub struct Tag {
    pub name: String,
    pub attributes: HashMap<String, String>,
    /// Where the text after the tag begins.
    end: usize,
}

impl Tag {
    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }
}

/// A form as a browser sees it.
#[derive(Debug, Clone)]
pub struct Form {
    pub id: String,
    /// As written; relative to the page.
    pub action: String,
    /// In lower case; `get` when the form does not say.
    pub method: String,
    /// What would be sent when nothing is filled in: hidden fields, preset texts, checked boxes.
    pub fields: Vec<(String, String)>,
    /// Names of all controls, filled in or not.
    pub controls: Vec<String>,
    /// What radio buttons and boxes offer: name and value.
    pub options: Vec<(String, String)>,
    /// Submit buttons: id, name, value.
    pub buttons: Vec<(String, Option<(String, String)>)>,
}

/// All forms of a page.
pub fn forms(page: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let (mut inside, mut select) = (false, String::new());
    for tag in tags(page) {
        let text = |name: &str| tag.get(name).unwrap_or_default().to_owned();
        match tag.name.as_str() {
            "form" => {
                let method = tag.get("method").unwrap_or("get").to_lowercase();
                let (id, action) = (text("id"), text("action"));
                let (fields, controls, options, buttons) = (vec![], vec![], vec![], vec![]);
                forms.push(Form { id, action, method, fields, controls, options, buttons });
                inside = true;
            }
            "/form" => inside = false,
            "option" if inside && tag.attributes.contains_key("selected") => {
                if let Some(form) = forms.last_mut() {
                    form.fields.push((select.clone(), text("value")));
                }
            }
            "input" | "button" | "textarea" | "select" if inside || tag.get("form").is_some() => {
                let form = match tag.get("form") {
                    Some(id) => forms.iter_mut().find(|form| form.id == id),
                    None => forms.last_mut(),
                };
                if tag.name == "select" {
                    select = text("name");
                }
                if let Some(form) = form {
                    control(form, &tag);
                    if tag.name == "textarea" {
                        let written = page[tag.end..].split("</textarea>").next().unwrap_or_default();
                        // The first line break belongs to the tag.
                        let written = unescape(written.strip_prefix('\n').unwrap_or(written));
                        form.fields.push((text("name"), written));
                    }
                }
            }
            _ => {}
        }
    }
    forms
}

fn control(form: &mut Form, tag: &Tag) {
    let name = tag.get("name").map(str::to_owned);
    let kind = tag.get("type").unwrap_or(if tag.name == "button" { "submit" } else { "text" });
    if tag.name == "button" || kind == "submit" {
        let value = name.map(|name| (name, tag.get("value").unwrap_or_default().to_owned()));
        form.buttons.push((tag.get("id").unwrap_or_default().to_owned(), value));
        return;
    }
    let Some(name) = name else { return };
    form.controls.push(name.clone());
    match kind {
        "checkbox" | "radio" => {
            let option = (name, tag.get("value").unwrap_or("on").to_owned());
            if tag.attributes.contains_key("checked") {
                form.fields.push(option.clone());
            }
            form.options.push(option);
        }
        _ => {
            if let Some(value) = tag.get("value") {
                form.fields.push((name, value.to_owned()));
            }
        }
    }
}

/// The element with that id.
pub fn element(page: &str, id: &str) -> Option<Tag> {
    tags(page).into_iter().find(|tag| tag.get("id") == Some(id))
}

/// The text in the element with that id, up to its own end tag, without the tags in between.
pub fn text(page: &str, id: &str) -> Option<String> {
    let tag = element(page, id)?;
    let rest = &page[tag.end..];
    let (mut depth, mut end) = (1, rest.len());
    for inner in tags(rest) {
        if inner.name == tag.name {
            depth += 1;
        } else if inner.name.strip_prefix('/') == Some(&tag.name) {
            depth -= 1;
            if depth == 0 {
                end = rest[..inner.end].rfind("</").unwrap_or(inner.end);
                break;
            }
        }
    }
    let mut plain = String::new();
    let mut inside = false;
    for character in rest[..end].chars() {
        match character {
            '<' => inside = true,
            '>' => inside = false,
            _ if !inside => plain.push(character),
            _ => {}
        }
    }
    Some(unescape(plain.split_whitespace().collect::<Vec<_>>().join(" ").as_str()))
}

/// Start and end tags (`/form`) in their order.
pub fn tags(page: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(start) = page[at..].find('<').map(|found| at + found + 1) {
        let rest = &page[start..];
        if let Some(comment) = rest.strip_prefix("!--") {
            at = start + 3 + comment.find("-->").map_or(comment.len(), |end| end + 3);
            continue;
        }
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '/' || c == '-')).unwrap_or(rest.len());
        let name = rest[..length].to_ascii_lowercase();
        let (attributes, used) = attributes(&rest[length..]);
        at = start + length + used;
        if !name.is_empty() {
            tags.push(Tag { name, attributes, end: at });
        }
    }
    tags
}

/// The attributes up to the end of the tag, and how many bytes they and the `>` took.
fn attributes(text: &str) -> (HashMap<String, String>, usize) {
    let mut attributes = HashMap::new();
    let mut at = 0;
    loop {
        at += text[at..].len() - text[at..].trim_start_matches(|c: char| c.is_whitespace() || c == '/').len();
        let rest = &text[at..];
        if rest.is_empty() || rest.starts_with('>') {
            return (attributes, (at + 1).min(text.len()));
        }
        let length = rest.find(|c: char| c.is_whitespace() || c == '=' || c == '>').unwrap_or(rest.len());
        let name = rest[..length].to_ascii_lowercase();
        at += length;
        let Some(value) = text[at..].strip_prefix('=') else {
            attributes.insert(name, String::new());
            continue;
        };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, taken) = match quote {
            Some(quote) => {
                let length = value[1..].find(quote).unwrap_or(value.len() - 1);
                (&value[1..=length], length + 2)
            }
            None => {
                let length = value.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(value.len());
                (&value[..length], length)
            }
        };
        attributes.insert(name, unescape(value));
        at = (at + 1 + taken).min(text.len());
    }
}

/// The character references that templates write.
fn unescape(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#x22;", "\""), ("&#39;", "'")];
    let more = [("&#x27;", "'"), ("&apos;", "'"), ("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&"), ("&amp;", "&")];
    named.iter().chain(&more).fold(text.to_owned(), |text, (reference, plain)| text.replace(reference, plain))
}
