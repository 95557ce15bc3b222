//! Pages that hold, and every way in which one may not.

use sha2::{Digest, Sha256};

use super::*;

const HOSTILE: &str = "<script>alert('x')</script>&\"=1";

/// The certificate of the sample, with a hostile text wherever words can stand.
fn sample() -> (TestLedger, Certificate) {
    let ledger = TestLedger::sample();
    let mut certificate = ledger.certificate();
    certificate.limits.push(HOSTILE.into());
    certificate.residues[0].text = HOSTILE.into();
    certificate.clear.text = HOSTILE.into();
    (ledger, certificate)
}

#[test]
fn a_page_is_valid_as_it_was_made_and_no_byte_else() {
    let (ledger, certificate) = sample();
    let document = ledger.sign_certificate(&certificate);
    let page = render_page(&certificate, &document);
    assert!(is_certificate(page.as_bytes()));
    let check = |page: &str| verify(page.as_bytes());
    let report = check(&page);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    assert!(report.notes.iter().any(|note| note.contains("made anew")), "{report}");
    for (from, to, section) in [
        ("PROVISIONAL", "FINAL", "page, head"),
        (
            "Exported copies were not examined",
            "Nothing was missed",
            "page, limits",
        ),
        ("</main>", "<p>One more.</p></main>", "page, proof"),
    ] {
        let found = check(&page.replacen(from, to, 1));
        assert_eq!(found.verdict, Verdict::Tampered, "{found}");
        assert!(found.findings[0].field.starts_with(section), "{found}");
        assert!(!found.notes.iter().any(|note| note.contains("made anew")), "{found}");
    }
    let found = check(&page.replace("certificate-page/1", "certificate-page/2"));
    assert_eq!(
        (found.verdict, found.findings[0].code),
        (Verdict::Incomplete, FindingCode::PageUnchecked)
    );
    assert_eq!(check(&(page.clone() + "<p>after</p>")).verdict, Verdict::Tampered);
    let data = page.find("{\"format\"").unwrap();
    assert_eq!(check(&page[..data]).verdict, Verdict::Tampered, "cut short");
    let other = page.replacen("signed-certificate/v1", "signed-certificate/v2", 1);
    assert_eq!(codes(&check(&other)), [FindingCode::DocumentInvalid]);
    let mut flipped = document.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let found = check(&render_page(&certificate, &flipped));
    assert_eq!(found.verdict, Verdict::Tampered, "{found}");
}

#[test]
fn hostile_words_stay_text_and_the_state_stands_at_the_top() {
    let (ledger, mut certificate) = sample();
    let page = render_page(&certificate, &ledger.sign_certificate(&certificate));
    assert_eq!(page.matches("<script").count(), 1, "the block of data and nothing else");
    assert_eq!(page.matches("&lt;script&gt;alert(").count(), 3);
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src="));
    assert!(page.find("PROVISIONAL").unwrap() < page.find("<section").unwrap() && !page.contains(">FINAL<"));
    certificate.status = Status::Final;
    let page = render_page(&certificate, b"");
    assert!(page.find(">FINAL<").unwrap() < page.find("<section").unwrap() && !page.contains("PROVISIONAL"));
}

#[test]
fn bodies_of_a_redaction_are_named_by_their_kind() {
    let (ledger, base) = sample();
    let certificate = RedactionCertificate {
        format: REDACTION_FORMAT.into(),
        origin: base.origin.clone(),
        redaction: Uuid::from_u128(7),
        reason: "secret".into(),
        role: "officer".into(),
        redacted_at: base.requested_at,
        files_rewritten_at: None,
        positions: [(3, 0), (3, 1), (3, 2)].map(Into::into).to_vec(),
        backups: Backups {
            known: Vec::new(),
            text: "none".into(),
        },
        limits: Vec::new(),
        tree_size: base.tree_size_after,
        evidence: Vec::new(),
        anchors: base.anchors.clone(),
        checkpoint: ledger.head(),
    };
    let page = render_redaction_page(&certificate, b"");
    for words in ["meta: the envelope", "data: the payload", "body 2: a sealed block"] {
        assert_eq!(page.matches(words).count(), 1, "{words}");
    }
}

/// The name of the renderer stands for its output: with another output comes another name, and another hash here.
#[test]
fn a_renderer_makes_the_same_bytes_for_ever() {
    let (_, mut certificate) = sample();
    certificate.checkpoint = "fixed".into();
    certificate.evidence.clear();
    let page = render_page(&certificate, b"fixed");
    assert_eq!(
        hex::encode(Sha256::digest(page)),
        "0b821345fc6c6f29ac3f91b2801edca02d36235c36f6f5612b3d71b17b9f935e"
    );
}
