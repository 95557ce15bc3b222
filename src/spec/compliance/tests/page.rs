//! The page: to the byte, and nothing but text.

use super::super::page::KIND;
use super::*;
use crate::spec::report::FindingCode;

/// The name of the renderer stands for its output: with another output comes another name, and another hash here.
#[test]
fn a_renderer_makes_the_same_bytes_for_ever() {
    let mut ledger = TestLedger::sample();
    let mut report = report(&ledger);
    report.limits = vec!["Not all.".into()];
    let mut signed = seal(&mut ledger, &report);
    signed.document = Base64(b"fixed".to_vec());
    signed.recorded = ledger.evidence(0);
    (signed.anchors, signed.consistency) = (Vec::new(), Vec::new());
    signed.checkpoint = "fixed".into();
    report.integrity.checkpoint = "fixed".into();
    let page = render_page(&report, &signed);
    assert_eq!(KIND.renderer, "oubliette-report-page/2");
    assert_eq!(
        hex::encode(Sha256::digest(page)),
        "b96e6bb202d1d3213740fbb3fddfa853e6ddbda1eae89bf336c96ffc1ddd3940"
    );
}

#[test]
fn a_page_is_valid_as_it_was_made_and_no_byte_else() {
    let mut ledger = TestLedger::sample();
    let report = report(&ledger);
    let signed = seal(&mut ledger, &report);
    let page = render_page(&report, &signed);
    assert!(is_report(page.as_bytes()));
    let check = |page: &str| verify_report(page.as_bytes(), &Trust::default());
    assert_eq!(check(&page).verdict, Verdict::Valid, "{}", check(&page));
    for (from, to, section) in [
        ("open, overdue", "completed", "page, erasures"),
        ("It covers one ledger", "It covers every ledger", "page, limits"),
        ("</main>", "<p>One more.</p></main>", "page, proof"),
    ] {
        let found = check(&page.replacen(from, to, 1));
        assert_eq!(found.verdict, Verdict::Tampered, "{found}");
        assert!(found.findings[0].field.starts_with(section), "{found}");
    }
    let found = check(&page.replace("oubliette-report-page/2", "oubliette-report-page/3"));
    assert_eq!(
        (found.verdict, found.findings[0].code),
        (Verdict::Incomplete, FindingCode::PageUnchecked)
    );
    assert_eq!(check(&(page.clone() + "<p>after</p>")).verdict, Verdict::Tampered);
    assert_eq!(
        check(
            page.split("oubliette-signed")
                .next()
                .unwrap()
                .split("{\"format\"")
                .next()
                .unwrap()
        )
        .verdict,
        Verdict::Tampered
    );
}

#[test]
fn hostile_names_stay_text_in_the_page() {
    let mut ledger = TestLedger::sample();
    let report = report(&ledger);
    let page = render_page(&report, &seal(&mut ledger, &report));
    assert_eq!(page.matches("<script").count(), 1, "the block of data and nothing else");
    assert_eq!(page.matches("&lt;script&gt;alert(").count(), 4);
    assert!(
        !page.contains("<script>") && !page.contains("http://") && !page.contains("https://") && !page.contains("src=")
    );
}
