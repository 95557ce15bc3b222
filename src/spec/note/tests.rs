//! The public vector, the rules of opening, and what must be refused.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;

use super::*;

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\
    — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

fn vkey() -> VerifierKey {
    VKEY.parse().unwrap()
}

fn signer(name: &str, seed: u8) -> SignerKey {
    SignerKey::new(name.parse().unwrap(), SigningKey::from_bytes(&[seed; 32]))
}

fn cosignature(seed: u8, name: &str, seconds: u64, text: &str) -> (VerifierKey, NoteSignature) {
    let key = SigningKey::from_bytes(&[seed; 32]);
    let public = key.verifying_key().to_bytes();
    let verifier = VerifierKey::new(name.parse().unwrap(), SignatureType::Cosignature, &public).unwrap();
    let signature = key.sign(format!("cosignature/v1\ntime {seconds}\n{text}").as_bytes());
    let signature = [seconds.to_be_bytes().as_slice(), &signature.to_bytes()].concat();
    let line = NoteSignature {
        name: verifier.name().clone(),
        id: verifier.id(),
        signature,
    };
    (verifier, line)
}

#[test]
fn the_public_vector_verifies() {
    let open = open(NOTE, &[vkey()]).unwrap();
    assert_eq!(open.text, "This is an example message.\n");
    assert_eq!(open.signatures.len(), 1);
    assert_eq!(open.signatures[0].name.as_str(), "example.com/foo");
    assert_eq!(open.signatures[0].id.to_string(), "530d903a");
    assert_eq!(open.signatures[0].timestamp, None);
}

#[test]
fn note_and_key_are_written_as_they_were_read() {
    assert_eq!(NOTE.parse::<Note>().unwrap().to_string(), NOTE);
    assert_eq!(vkey().to_string(), VKEY);
}

#[test]
fn a_changed_text_or_signature_rejects_the_note() {
    let bad = NoteError::BadSignature {
        name: vkey().name().clone(),
        id: vkey().id(),
    };
    for note in [
        NOTE.replace("example message", "other message"),
        NOTE.replace("kn8srV", "kn8srW"),
    ] {
        assert_eq!(open(&note, &[vkey()]), Err(bad.clone()));
    }
}

#[test]
fn a_known_key_with_a_false_signature_rejects_even_next_to_a_good_one() {
    let (a, b) = (signer("a.example", 1), signer("b.example", 2));
    let keys = [a.verifier().clone(), b.verifier().clone()];
    let mut note = Note::sign("text\n", &[&a]).unwrap();
    note.add(b.sign("other text\n")).unwrap();
    assert!(matches!(note.verify(&keys), Err(NoteError::BadSignature { name, .. }) if name.as_str() == "b.example"));
    assert_eq!(
        note.verify(&keys[..1]).unwrap().len(),
        1,
        "an unknown signature is not looked at"
    );
}

#[test]
fn a_second_false_signature_of_the_same_key_rejects_too() {
    let a = signer("a.example", 1);
    let keys = [a.verifier().clone()];
    let mut note = Note::sign("text\n", &[&a, &a]).unwrap();
    assert_eq!(note.verify(&keys).unwrap().len(), 1);
    note.add(a.sign("other text\n")).unwrap();
    assert!(matches!(note.verify(&keys), Err(NoteError::BadSignature { .. })));
}

#[test]
fn a_known_signature_of_the_wrong_length_rejects() {
    let a = signer("a.example", 1);
    let mut note = Note::sign("text\n", &[&a]).unwrap();
    note.signatures[0].signature.push(0);
    assert!(matches!(
        note.verify(&[a.verifier().clone()]),
        Err(NoteError::BadSignature { .. })
    ));
}

#[test]
fn unknown_keys_are_ignored_even_if_they_share_the_name_or_the_id() {
    let (known, renewed) = (signer("a.example", 1), signer("a.example", 2));
    let mut note = Note::sign("text\n", &[&renewed, &known]).unwrap();
    let mut same_id = known.sign("false\n");
    same_id.name = "b.example".parse().unwrap();
    note.add(same_id).unwrap();
    assert_eq!(note.verify(&[known.verifier().clone()]).unwrap().len(), 1);
}

#[test]
fn a_note_without_a_known_signature_is_rejected() {
    assert_eq!(open(NOTE, &[]), Err(NoteError::Unsigned));
    assert_eq!(
        open(NOTE, &[signer("example.com/foo", 1).verifier().clone()]),
        Err(NoteError::Unsigned)
    );
    assert_eq!(Note::sign("text\n", &[]), Err(NoteError::Unsigned));
}

#[test]
fn known_keys_that_share_name_and_id_are_ambiguous_unless_they_are_equal() {
    let key = vkey();
    assert!(open(NOTE, &[key.clone(), key.clone()]).is_ok());
    let mut other = VerifierKey::new(
        key.name().clone(),
        key.signature_type(),
        signer("x", 1).verifier().public_key(),
    )
    .unwrap();
    other.set_id_for_test(key.id());
    assert!(matches!(open(NOTE, &[key, other]), Err(NoteError::AmbiguousKey { .. })));
}

#[test]
fn signatures_up_to_the_maximum_are_accepted_in_any_order() {
    let signers: Vec<_> = (1..=MAX_SIGNATURES)
        .map(|i| signer(&format!("s{i}.example"), i as u8))
        .collect();
    let mut keys: Vec<_> = signers.iter().map(|signer| signer.verifier().clone()).collect();
    keys.reverse();
    let mut note = Note::sign("text\n", &signers.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(open(&note.to_string(), &keys).unwrap().signatures.len(), MAX_SIGNATURES);
    assert_eq!(note.add(signers[0].sign("text\n")), Err(NoteError::TooLarge));
    let line = note.signatures()[0].to_string();
    assert_eq!(format!("{note}{line}\n").parse::<Note>(), Err(NoteError::TooLarge));
}

#[test]
fn a_note_beyond_the_maximal_size_is_refused() {
    let text = "x".repeat(MAX_NOTE_BYTES) + "\n";
    assert_eq!(Note::sign(&text, &[&signer("a.example", 1)]), Err(NoteError::TooLarge));
    assert_eq!(format!("{text}\n— a b\n").parse::<Note>(), Err(NoteError::TooLarge));
}

#[test]
fn the_last_empty_line_separates() {
    let a = signer("a.example", 1);
    let text = "first\n\n— a.example not a signature\n\nlast\n";
    let note = Note::sign(text, &[&a]).unwrap().to_string();
    assert_eq!(open(&note, &[a.verifier().clone()]).unwrap().text, text);
}

#[test]
fn a_cosignature_verifies_with_its_time() {
    let log = signer("log.example", 1);
    let text = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
    let (witness, line) = cosignature(2, "witness.example", 1_679_315_147, text);
    let mut note = Note::sign(text, &[&log]).unwrap();
    note.add(line.to_string().parse().unwrap()).unwrap();
    let verified = note.verify(&[witness.clone(), log.verifier().clone()]).unwrap();
    assert_eq!(verified[1].timestamp, Some(1_679_315_147));
    assert_eq!(verified[1].signature_type, SignatureType::Cosignature);
    assert_eq!(witness.to_string().parse::<VerifierKey>().unwrap(), witness);

    note.signatures[1].signature[7] ^= 1;
    assert!(matches!(note.verify(&[witness]), Err(NoteError::BadSignature { .. })));
}

#[test]
fn a_cosignature_from_the_far_future_or_cut_short_is_false() {
    let text = "text\n";
    let (witness, line) = cosignature(2, "witness.example", 1 << 63, text);
    let mut note = Note {
        text: text.to_owned(),
        signatures: vec![line],
    };
    assert!(matches!(
        note.verify(std::slice::from_ref(&witness)),
        Err(NoteError::BadSignature { .. })
    ));
    note.signatures[0].signature.truncate(7);
    assert!(matches!(note.verify(&[witness]), Err(NoteError::BadSignature { .. })));
}

#[test]
fn malformed_notes_are_refused() {
    let line = NOTE.rsplit_once("\n\n").unwrap().1.trim_end();
    for (note, error) in [
        (String::new(), NoteError::Format),
        ("text\n".into(), NoteError::Format),
        ("text\n\n".into(), NoteError::Format),
        (format!("text\n{line}\n"), NoteError::Format),
        (format!("text\n\n{line}"), NoteError::Format),
        (format!("\n{line}\n"), NoteError::Format),
        (format!("text\n\n{line}\n\n"), NoteError::Format),
        (format!("te\txt\n\n{line}\n"), NoteError::Text),
        (format!("text\r\n\n{line}\n"), NoteError::Text),
        (format!("te\0xt\n\n{line}\n"), NoteError::Text),
        ("text\n\n\n".into(), NoteError::Format),
        (format!("text\n\n{line}\nx\n"), NoteError::Line(2)),
        (format!("text\n\n{line} \n"), NoteError::Line(1)),
        (format!("text\n\n{line}\r\n"), NoteError::Line(1)),
        (format!("text\n\n{}\n", line.replace('—', "-")), NoteError::Line(1)),
        (format!("text\n\n{}\n", line.replace("— ", "—")), NoteError::Line(1)),
        (
            format!("text\n\n{}\n", line.replace("example.com/foo ", "")),
            NoteError::Line(1),
        ),
        (
            format!("text\n\n{}\n", line.replace("example.com/foo", "")),
            NoteError::Line(1),
        ),
        (
            format!("text\n\n{}\n", line.replace("com/foo", "com+foo")),
            NoteError::Line(1),
        ),
        (
            format!("text\n\n{}\n", line.replace("com/foo", "com\u{a0}foo")),
            NoteError::Line(1),
        ),
        (format!("text\n\n{}\n", line.trim_end_matches('=')), NoteError::Line(1)),
        (format!("text\n\n{}\n", line.replace("QM=", "QN=")), NoteError::Line(1)),
        ("text\n\n— a AAAAAA==\n".into(), NoteError::Line(1)),
        ("text\n\n— a AAA=\n".into(), NoteError::Line(1)),
    ] {
        assert_eq!(note.parse::<Note>(), Err(error), "{note:?}");
    }
}

#[test]
fn texts_that_no_note_can_have_are_not_signed() {
    for text in ["", "text", "te\rxt\n", "te\u{1}xt\n"] {
        assert_eq!(Note::sign(text, &[&signer("a.example", 1)]), Err(NoteError::Text));
    }
}

#[test]
fn malformed_public_keys_are_refused() {
    let of = |bytes: &[u8]| format!("example.com/foo+530d903a+{}", STANDARD.encode(bytes));
    for (text, error) in [
        ("", KeyError::Format),
        ("example.com/foo", KeyError::Format),
        ("example.com/foo+530d903a", KeyError::Format),
        (&VKEY.replace("530d903a", "530D903A"), KeyError::Format),
        (&VKEY.replace("530d903a", "+530d903"), KeyError::Format),
        (&VKEY.replace("530d903a", "0530d903a"), KeyError::Format),
        (&format!("{VKEY}="), KeyError::Format),
        (&format!("{VKEY}\n"), KeyError::Format),
        (&VKEY.replace("example.com/foo", ""), KeyError::Name),
        (&VKEY.replace("example.com/foo", "example.com foo"), KeyError::Name),
        (&of(&[]), KeyError::Format),
        (&of(&[6; 33]), KeyError::Type(6)),
        (&of(&[1; 32]), KeyError::PublicKey),
        (&of(&[1; 34]), KeyError::PublicKey),
    ] {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text}");
    }
    let wrong_id = VKEY.replace("530d903a", "530d903b").parse::<VerifierKey>();
    assert!(matches!(wrong_id, Err(KeyError::Id { .. })));
}

#[test]
fn weak_non_canonical_and_mixed_order_public_keys_are_refused() {
    let mut identity = [0; 32];
    identity[0] = 1;
    let order_four = [0; 32];
    let order_eight = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    // y = p + 1: the identity, not reduced.
    let mut not_reduced = [0xff; 32];
    (not_reduced[0], not_reduced[31]) = (0xee, 0x7f);
    // x = 0 with its sign bit set.
    let mut negative_zero = identity;
    negative_zero[31] = 0x80;
    // A key of prime order plus the point of order two, (x, y) + (0, -1) = (-x, -y): it decodes, but has torsion.
    let prime_order = *signer("x", 1).verifier().public_key();
    let mixed = negated(&prime_order);

    let order_eight = hex::decode(order_eight).unwrap().try_into().unwrap();
    for bytes in [identity, order_four, order_eight, not_reduced, negative_zero, mixed] {
        assert_eq!(
            strict_public_key(&bytes),
            Err(KeyError::PublicKey),
            "{}",
            hex::encode(bytes)
        );
    }
    assert!(strict_public_key(&prime_order).is_ok());
    assert!(
        ed25519_dalek::VerifyingKey::from_bytes(&mixed).is_ok(),
        "only the strict check refuses it"
    );
}

/// `(-x, -y)` of an encoded point: `p − y` with the sign of x flipped.
fn negated(point: &[u8; 32]) -> [u8; 32] {
    let mut y = *point;
    let sign = y[31] & 0x80;
    y[31] &= 0x7f;
    let mut p = [0xff_u8; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    let mut borrow = 0;
    let mut negated = [0; 32];
    for i in 0..32 {
        let difference = i16::from(p[i]) - i16::from(y[i]) - borrow;
        borrow = i16::from(difference < 0);
        negated[i] = (difference & 0xff) as u8;
    }
    negated[31] |= sign ^ 0x80;
    negated
}

#[test]
fn a_signer_does_not_print_its_secret() {
    let printed = format!("{:?}", signer("a.example", 7));
    assert!(printed.contains("a.example+") && !printed.contains("7, 7"), "{printed}");
}

proptest! {
    #[test]
    fn any_text_is_signed_and_opened(text in "[ -~\n\u{e9}—]{0,80}", seed in 1..255u8) {
        let text = text + "\n";
        let key = signer("a.example", seed);
        let note = Note::sign(&text, &[&key]).unwrap().to_string();
        prop_assert_eq!(open(&note, &[key.verifier().clone()]).unwrap().text, text);
    }

    #[test]
    fn what_is_read_is_written_again(note in "[a-z\n]{0,9}\n\n(— [a-z]{1,3} [A-Za-z0-9+/]{0,12}={0,2}\n){0,3}") {
        if let Ok(parsed) = note.parse::<Note>() {
            prop_assert_eq!(parsed.to_string(), note);
        }
    }

    #[test]
    fn any_flipped_bit_of_a_note_is_found(at in 0..NOTE.len(), bit in 0..8u8) {
        let mut bytes = NOTE.as_bytes().to_vec();
        bytes[at] ^= 1 << bit;
        if let Ok(note) = String::from_utf8(bytes) {
            prop_assert!(open(&note, &[vkey()]).is_err(), "{}", note);
        }
    }
}
