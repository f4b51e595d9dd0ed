//! The table of bad objects at occm's own door: each row is found out, with its field.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests only"
)]

#[path = "support/bad.rs"]
mod bad;

#[test]
fn each_bad_object_is_found_out_with_its_field() {
    let mut wrong = Vec::new();
    for row in bad::rows() {
        let verdict = bad::verdict(&row.object("x"), "team", "occm");
        if !verdict.contains(&row.path) {
            wrong.push(format!("{}: expected {}, told {verdict:?}", row.name, row.path));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_good_objects_are_good() {
    for kind in ["Issuer", "Certificate"] {
        assert_eq!(bad::verdict(&bad::good(kind, "x"), "team", "occm"), "");
    }
}
