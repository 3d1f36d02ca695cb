//! What every page of the console and of the board has around it.

use super::{SECTIONS, assets};

/// What every page has around it.
#[derive(Debug)]
pub struct Frame {
    pub title: String,
    /// Who looks; nobody on the pages before the login.
    pub user: Option<String>,
    pub sections: Vec<Section>,
    /// Every form carries it.
    pub token: String,
}

/// A place in the navigation.
#[derive(Debug)]
pub struct Section {
    pub path: &'static str,
    pub name: &'static str,
    pub is_here: bool,
}

impl Frame {
    /// For those who are not logged in; the others have [`super::Visitor::frame`].
    pub fn outside(title: impl Into<String>, token: String) -> Self {
        Self { title: title.into(), user: None, sections: Vec::new(), token }
    }

    /// For somebody of whom nothing can be found out now: the way to all sections, each of which will ask who it is.
    pub fn of_somebody(title: impl Into<String>) -> Self {
        let sections = SECTIONS.iter().map(|(path, name, _)| Section { path, name, is_here: false });
        Self { sections: sections.collect(), ..Self::outside(title, String::new()) }
    }

    /// Where one of our own files is.
    pub fn asset(&self, file: &str) -> String {
        assets::address(file)
    }
}
