//! Pages of a list: plain links to newer and older rows, one parameter of the query for each list of a page.

use grantlog_projections::tables::Page;

use super::visit::Visit;

/// Rows of a list that are shown at once.
const ROWS: usize = 25;
/// The last page that can be asked for; nobody leafs on that far, and the database counts off what is left out.
const PAGES_MAX: usize = 400;

/// Where in a list somebody is.
#[derive(Clone, Debug)]
pub struct Paging {
    /// `/account?sessions=`
    link: String,
    /// The section of the page, as a fragment.
    section: &'static str,
    /// From 1.
    pub number: usize,
    more: bool,
}

impl Paging {
    /// Which page of the list in `section` of the page at `path` a visit asks for by the parameter `name`.
    pub fn of(visit: &Visit, path: &str, name: &str, section: &'static str) -> Self {
        let asked = visit.parameters.get(name).and_then(|text| text.parse().ok()).unwrap_or(1);
        Self {
            link: format!("{}{path}?{name}=", visit.app.settings.issuer.path()),
            section,
            number: asked.clamp(1, PAGES_MAX),
            more: false,
        }
    }

    /// Keeps what was searched for on the other pages.
    #[must_use]
    pub fn searched(mut self, name: &str, text: &str) -> Self {
        let text: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        self.link = self.link.replacen('?', &format!("?{name}={text}&"), 1);
        self
    }

    /// Whether there is more than is shown.
    pub fn is_long(&self) -> bool {
        self.more || self.number > 1
    }

    /// What to read: one row more than is shown, to know whether there are older ones.
    pub fn page(&self) -> Page {
        let rows = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        Page { limit: rows(ROWS + 1), offset: rows(ROWS * (self.number - 1)) }
    }

    /// The rows that are shown, of those that were read.
    pub fn shown<T>(&mut self, mut rows: Vec<T>) -> Vec<T> {
        self.more = rows.len() > ROWS;
        rows.truncate(ROWS);
        rows
    }

    pub fn newer(&self) -> Option<String> {
        (self.number > 1).then(|| self.to(self.number - 1))
    }

    pub fn older(&self) -> Option<String> {
        (self.more && self.number < PAGES_MAX).then(|| self.to(self.number + 1))
    }

    fn to(&self, number: usize) -> String {
        format!("{}{number}#{}", self.link, self.section)
    }
}

#[cfg(test)]
impl Paging {
    /// A page with others on both sides, for tests of templates.
    pub fn in_the_middle() -> Self {
        Self { link: "/?clients=".to_owned(), section: "my-clients", number: 2, more: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: usize) -> Paging {
        Paging { number, more: false, ..Paging::in_the_middle() }
    }

    #[test]
    fn a_list_that_fits_has_no_links() {
        let mut paging = at(1);
        assert_eq!(paging.shown(vec![0; ROWS]).len(), ROWS);
        assert_eq!((paging.newer(), paging.older()), (None, None));
    }

    #[test]
    fn one_row_more_leads_to_the_next_page() {
        let mut paging = at(1);
        assert_eq!(paging.page(), Page { limit: 26, offset: 0 });
        assert_eq!(paging.shown(vec![0; ROWS + 1]).len(), ROWS);
        assert_eq!(paging.older().as_deref(), Some("/?clients=2#my-clients"));
        assert_eq!(at(2).page().offset, 25);
        assert_eq!(at(2).newer().as_deref(), Some("/?clients=1#my-clients"));
    }

    #[test]
    fn a_search_goes_on_over_its_pages() {
        let paging = at(2).searched("find", "a&b=ä");
        assert_eq!(paging.newer().as_deref(), Some("/?find=a%26b%3D%C3%A4&clients=1#my-clients"));
    }

    #[test]
    fn the_last_page_has_no_older_one() {
        let mut paging = at(PAGES_MAX);
        paging.shown(vec![0; ROWS + 1]);
        assert_eq!(paging.older(), None);
    }
}
