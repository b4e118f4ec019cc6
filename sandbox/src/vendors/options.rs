//! Options of a simulator. It holds no state.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// The options of a simulator.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time every call takes, beside the work itself.
    pub latency: Duration,
    /// Address to listen on; port 0 takes a free port.
    pub address: SocketAddr,
    /// Life of a session: from its last use at Pegasus, from its login elsewhere.
    pub token_life: Duration,
    /// How far the clock is behind: in the Date header, and in creation times of Plaspy and `OZmap`.
    pub clock_behind: Duration,
    /// How old the users and groups are that reads, searches and lists show: they are answered by a replica that lags behind.
    pub read_lag: Duration,
    /// Cut each page from the rows in another order, unless the client asks for one: a row is on two pages and another on none. Off by
    /// default.
    pub unordered: bool,
    /// Switches of Pegasus.
    pub pegasus: PegasusOptions,
    /// Switches of Amani.
    pub amani: AmaniOptions,
    /// Switches of Plaspy.
    pub plaspy: PlaspyOptions,
    /// Switches of Industrility.
    pub industrility: IndustrilityOptions,
    /// Switches of `OZmap`.
    pub ozmap: OzmapOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token_life: Duration::from_hours(1),
            clock_behind: Duration::ZERO,
            read_lag: Duration::ZERO,
            unordered: false,
            pegasus: PegasusOptions::default(),
            amani: AmaniOptions::default(),
            plaspy: PlaspyOptions::default(),
            industrility: IndustrilityOptions::default(),
            ozmap: OzmapOptions::default(),
        }
    }
}

/// Switches of Pegasus.
#[derive(Clone, Debug)]
pub struct PegasusOptions {
    /// Enforce the limits of `/apps` (release notes 7.2.1): 5 calls a second and 20 a minute for the caller. Off by default.
    pub apps_limits: bool,
    /// Whether `search.` works on users; the documents contradict each other. When off it is ignored. On by default.
    pub search_users: bool,
    /// Show the scopes inherited from a listed parent (release notes 7.0.0). On by default.
    pub inherited_scopes: bool,
    /// Whether a value with blanks is found only in double quotes, as the vendor's own client writes it. Off by default.
    pub search_needs_quotes: bool,
    /// Lists are bare arrays without pages, which that client accepts too. Off by default.
    pub bare_lists: bool,
    /// A PUT of a user clears what it leaves out: the documents do not say that it stays. Off by default.
    pub put_replaces: bool,
    /// Show a user's groups as objects with an `id`. Off by default.
    pub groups_as_objects: bool,
    /// Do not show a user's groups. Off by default.
    pub groups_hidden: bool,
    /// Show no more of a group's logo than whether there is one. Off by default.
    pub logo_as_flag: bool,
}

impl Default for PegasusOptions {
    fn default() -> Self {
        Self {
            apps_limits: false,
            search_users: true,
            inherited_scopes: true,
            search_needs_quotes: false,
            bare_lists: false,
            put_replaces: false,
            groups_as_objects: false,
            groups_hidden: false,
            logo_as_flag: false,
        }
    }
}

/// Switches of Amani.
#[derive(Clone, Debug)]
pub struct AmaniOptions {
    /// Size of a page in the users' list; none answers a bare array, the default.
    pub page_size: Option<usize>,
    /// How a page names the next one. By number by default.
    pub paging: AmaniPaging,
    /// Status for a login without a slash at the end, where only the other form is served; both are served by default.
    pub bare_login_refused: Option<u16>,
    /// Whether users can be listed at all (no document says so); when off the answer is 405. On by default.
    pub listing: bool,
    /// Status for a GET of one user, which no document describes; `None`, the default, shows the user.
    pub reading_refused: Option<u16>,
    /// Insist on e-mail and password in every PATCH, as the page "Creating a new user" says. Off by default.
    pub patch_requires_credentials: bool,
}

impl Default for AmaniOptions {
    fn default() -> Self {
        Self {
            page_size: None,
            paging: AmaniPaging::Number,
            bare_login_refused: None,
            listing: true,
            reading_refused: None,
            patch_requires_credentials: false,
        }
    }
}

/// The ways in which Django REST Framework pages a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AmaniPaging {
    /// `page=2`
    Number,
    /// `limit=1&offset=1`
    Offset,
    /// `cursor=…`, an opaque text
    Cursor,
}

/// Switches of Plaspy, all off by default.
#[derive(Clone, Debug, Default)]
pub struct PlaspyOptions {
    /// Answer errors with status 200 and `success: false`.
    pub errors_with_200: bool,
    /// A user's `group` holds a group's id instead of its name.
    pub group_by_id: bool,
    /// Show a user's group the other way: its name where ids are taken, its id where names are.
    pub group_shown_otherwise: bool,
    /// Read "" in a create as the name of a group, which does not exist.
    pub strict_group: bool,
    /// Have no call for the countries, so that its address means a user.
    pub no_countries: bool,
    /// Show a user's country by its name, however it was written.
    pub country_as_name: bool,
}

/// Switches of Industrility.
#[derive(Clone, Debug)]
pub struct IndustrilityOptions {
    /// Path of the only call, perhaps with parameters in the order of their names; `/CreateNewUser` by default.
    pub create_path: String,
    /// Header that carries the token, `Authorization` by default.
    pub auth_header: String,
    /// Word before the token, `Bearer` by default; empty takes the bare token.
    pub auth_scheme: String,
    /// Refuse security groups that do not exist. Off by default.
    pub check_security_groups: bool,
    /// Answer refusals with status 200 and the real one in the body. Off by default.
    pub wrapped_refusals: bool,
}

impl Default for IndustrilityOptions {
    fn default() -> Self {
        Self {
            create_path: "/CreateNewUser".to_owned(),
            auth_header: "Authorization".to_owned(),
            auth_scheme: "Bearer".to_owned(),
            check_security_groups: false,
            wrapped_refusals: false,
        }
    }
}

/// Switches of `OZmap`.
#[derive(Clone, Debug)]
pub struct OzmapOptions {
    /// Rows of a page at most, whatever is asked for; 500 by default.
    pub largest_page: usize,
    /// Count the rows before a page by the requested page size, not by the size returned. Off by default.
    pub start_as_asked: bool,
    /// How `/authenticated` answers: with the user by default.
    pub whoami: OzmapWhoami,
    /// Keep removed rows, marked with the time, and show them. Off by default.
    pub soft_deletion: bool,
    /// Keep usernames and e-mail addresses in lower case. Off by default.
    pub lower_case: bool,
}

impl Default for OzmapOptions {
    fn default() -> Self {
        Self {
            largest_page: 500,
            start_as_asked: false,
            whoami: OzmapWhoami::User,
            soft_deletion: false,
            lower_case: false,
        }
    }
}

/// How `OZmap` answers `/authenticated`, of which only an old SDK knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OzmapWhoami {
    /// With the user.
    User,
    /// With 200 and no body.
    Nothing,
    /// With 404: there is no such call.
    Missing,
}
