//! The files that pages load: part of the program, under an address that changes with them, so that browsers keep
//! them for ever and never have an old one.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Path;
use rust_embed::RustEmbed;

use crate::error::{Code, Failure};
use crate::order::Hash;
use crate::web::problem::Problem;

#[derive(RustEmbed)]
#[folder = "assets/"]
struct Assets;

/// Names the present state of all files together.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let hashes = Assets::iter().filter_map(|name| Assets::get(&name)).map(|file| file.metadata.sha256_hash());
    Hash::of_bytes(&hashes.flatten().collect::<Vec<u8>>()).tag()
});

/// Where a file is.
pub fn address(file: &str) -> String {
    format!("/assets/{}/{file}", *VERSION)
}

/// `GET /assets/{version}/{file}`. Another version's address answers with the present file, which is not kept then.
///
/// # Errors
/// `not_found`.
pub async fn get_asset(path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let (version, name) = path.into_inner();
    let file = Assets::get(&name).ok_or_else(|| Failure::new(Code::NotFound, "There is no such file."))?;
    let kind = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("webmanifest") => "application/manifest+json",
        Some("mp3") => "audio/mpeg",
        Some("wav") => "audio/wav",
        Some("png") => "image/png",
        _ => "text/plain; charset=utf-8",
    };
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-store" };
    Ok(HttpResponse::Ok()
        .content_type(HeaderValue::from_static(kind))
        .insert_header((header::CACHE_CONTROL, keep))
        .body(file.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vendored_file_comes_with_its_licence() {
        let names: Vec<String> = Assets::iter().map(|name| name.into_owned()).collect();
        let vendored: Vec<&String> =
            names.iter().filter(|name| name.starts_with("vendor/") && !name.ends_with(".txt")).collect();
        assert!(vendored.len() >= 2, "{names:?}");
        for name in vendored {
            let package = name.trim_start_matches("vendor/").split("-2.").next().unwrap();
            assert!(names.contains(&format!("vendor/{package}-LICENSE.txt")), "{name} of {package}");
        }
    }
}
