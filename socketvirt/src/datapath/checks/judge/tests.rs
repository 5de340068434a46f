use std::io;

use socketvirt_common::difference::{Difference, Likely, Outcome};

use super::*;
use crate::datapath::checks::{Enrolled, LIST};

fn check(keeper: Keeper) -> Check {
    let difference = Difference {
        name: "fake",
        title: "a fake",
        fact: "made up",
        kernel: &[],
        plain: "right",
        fixed_in: None,
        keeper,
        adopt: Outcome::Same,
        eager: Outcome::Same,
        likely: Likely::Rare,
        section: "",
    };
    Check {
        difference: Box::leak(Box::new(difference)),
        enrolled: Enrolled::Eagerly,
        script: |_| Ok("never run".into()),
    }
}

fn broken() -> Answer {
    Err(CheckError::Setup {
        attempt: "send",
        source: io::ErrorKind::TimedOut.into(),
    })
}

const GUARD: Keeper = Keeper::Guard(Reason::Splice);

#[test]
fn an_answer_is_compared_with_plain_tcp() {
    let check = check(Keeper::Kernel);
    assert_eq!(judge(&check, &Ok("right".into())), Judgement::Same);
    assert_eq!(
        judge(&check, &Ok("wrong".into())),
        Judgement::Differs("wrong".into())
    );
    let absent = judge(&check, &Err(CheckError::Absent("kTLS")));
    assert!(matches!(absent, Judgement::Absent(_)), "{absent:?}");
    assert!(matches!(judge(&check, &broken()), Judgement::Unclear(_)));
}

/// A script that plain TCP answers otherwise is wrong itself, and must not
/// pass for a difference, nor for the lack of one.
#[test]
fn a_wrong_script_is_unclear_whatever_it_says() {
    let check = check(Keeper::Kernel);
    for seen in [Ok("right".into()), Ok("wrong".into()), broken()] {
        let judgement = judge_beside(&check, &Ok("wrong".into()), &seen);
        assert!(matches!(judgement, Judgement::Unclear(_)), "{judgement:?}");
    }
    assert_eq!(
        judge_beside(&check, &Ok("right".into()), &Ok("right".into())),
        Judgement::Same
    );
    let differs = judge_beside(&check, &Ok("right".into()), &Ok("wrong".into()));
    assert_eq!(differs, Judgement::Differs("wrong".into()));
}

#[test]
fn only_what_concerns_every_socket_is_a_defect() {
    let differs = Judgement::Differs("wrong".into());
    for keeper in [Keeper::Kernel, Keeper::Rule("order")] {
        let check = check(keeper);
        assert!(defect([(&check, &differs)]).is_some());
        assert!(defect([(&check, &Judgement::Unclear("why".into()))]).is_some());
        assert!(defect([(&check, &Judgement::Same)]).is_none());
        assert!(defect([(&check, &Judgement::Absent("MPTCP".into()))]).is_none());
        // Not redirected is a defect of the mode, ...
        assert_ne!(
            judge(&check, &Err(CheckError::NotRedirected)),
            Judgement::Same
        );
    }
    for keeper in [
        GUARD,
        Keeper::AdoptGuard(Reason::Blocking),
        Keeper::Nobody("keep out"),
    ] {
        let check = check(keeper);
        assert!(defect([(&check, &differs)]).is_none());
        // ... and tells nothing of what rests on it.
        let judgement = judge(&check, &Err(CheckError::NotRedirected));
        assert!(matches!(judgement, Judgement::Unclear(_)), "{judgement:?}");
    }
}

#[test]
fn a_defect_names_the_first_difference() {
    let (good, bad) = (check(Keeper::Kernel), check(Keeper::Rule("order")));
    let judged = [
        (&good, &Judgement::Same),
        (&bad, &Judgement::Differs("wrong".into())),
    ];
    assert_eq!(
        defect(judged),
        Some("a fake: `wrong` instead of `right`".into())
    );
}

fn defects(unified: bool, tx_only: bool) -> [(ReceiveMode, Option<String>); 2] {
    let defect = |passes: bool| (!passes).then(|| "defect".to_owned());
    [
        (ReceiveMode::Unified, defect(unified)),
        (ReceiveMode::TxOnly, defect(tx_only)),
    ]
}

#[test]
fn the_better_receive_mode_that_passes_is_used() {
    for (unified, tx_only, chosen) in [
        (true, true, ReceiveMode::Unified),
        (true, false, ReceiveMode::Unified),
        (false, true, ReceiveMode::TxOnly),
        (false, false, ReceiveMode::TableOnly),
    ] {
        assert_eq!(receive_mode(&defects(unified, tx_only)), chosen);
    }
    assert_eq!(receive_mode(&[]), ReceiveMode::TableOnly);
}

#[test]
fn a_difference_is_guarded_only_by_a_guard_that_held() {
    let differs = Judgement::Differs("wrong".into());
    let proofs = |proof: Proof| vec![(Reason::Rcvlowat, Proof::Held), (Reason::Splice, proof)];
    let verdict_with =
        |keeper, proof, mode| verdict(&check(keeper), &differs, &proofs(proof), mode);
    let failed = || Proof::Failed("the pair was adopted".into());
    let untried = || Proof::Untried("no".into());
    let late = Keeper::LateGuard(Reason::Splice, "keep out");
    let adopt_only = Keeper::AdoptGuard(Reason::Splice);
    for (keeper, proof, mode, expected) in [
        (GUARD, Proof::Held, Mode::Adopt, Verdict::Guarded),
        (GUARD, Proof::Held, Mode::Eager, Verdict::Partly),
        (GUARD, failed(), Mode::Adopt, Verdict::Differs),
        (GUARD, failed(), Mode::Eager, Verdict::Differs),
        (GUARD, untried(), Mode::Adopt, Verdict::Unclear),
        (late, Proof::Held, Mode::Adopt, Verdict::Partly),
        (late, failed(), Mode::Adopt, Verdict::Differs),
        (adopt_only, Proof::Held, Mode::Adopt, Verdict::Guarded),
        (adopt_only, Proof::Held, Mode::Eager, Verdict::Differs),
        (
            Keeper::Nobody(""),
            Proof::Held,
            Mode::Adopt,
            Verdict::Differs,
        ),
        (Keeper::Kernel, Proof::Held, Mode::Adopt, Verdict::Refused),
        (
            Keeper::Rule("order"),
            Proof::Held,
            Mode::Eager,
            Verdict::Refused,
        ),
    ] {
        assert_eq!(
            verdict_with(keeper, proof, mode),
            expected,
            "{keeper:?} {mode:?}"
        );
    }
    assert_eq!(
        verdict(&check(GUARD), &differs, &[], Mode::Adopt),
        Verdict::Refused
    );
}

#[test]
fn what_is_the_same_works_or_has_a_rule() {
    for (keeper, expected) in [
        (Keeper::Kernel, Verdict::Works),
        (GUARD, Verdict::Works),
        (Keeper::Nobody(""), Verdict::Works),
        (Keeper::Rule("order"), Verdict::Guarded),
    ] {
        for mode in [Mode::Adopt, Mode::Eager] {
            assert_eq!(
                verdict(&check(keeper), &Judgement::Same, &[], mode),
                expected
            );
        }
    }
}

#[test]
fn acceleration_is_advised_only_when_nothing_speaks_against_it() {
    let held = [
        (Reason::Splice, Proof::Held),
        (Reason::Ulp, Proof::Absent("no kTLS".into())),
    ];
    let good = recommend(&defects(true, false), &held, &[]);
    assert!(good.advisable());
    assert_eq!(
        (good.mode, good.receive_mode),
        (Mode::Adopt, ReceiveMode::Unified)
    );
    assert!(good.eager && good.reasons.is_empty());

    let failed = [(Reason::Splice, Proof::Failed("adopted".into()))];
    let untried = [(Reason::Splice, Proof::Untried("no".into()))];
    let missing = ["no BTF".to_owned()];
    for (case, bad) in [
        ("defects", recommend(&defects(false, false), &held, &[])),
        ("failed", recommend(&defects(true, true), &failed, &[])),
        ("untried", recommend(&defects(true, true), &untried, &[])),
        ("missing", recommend(&defects(true, true), &held, &missing)),
        ("nothing known", recommend(&[], &[], &missing)),
    ] {
        assert!(!bad.advisable(), "{case}");
        assert_eq!(bad.receive_mode, ReceiveMode::TableOnly, "{case}");
        assert!(!bad.eager && !bad.reasons.is_empty(), "{case}");
    }
    assert!(!recommend(&[], &[], &[]).advisable());
}

/// With every difference refused there is no receive mode left, so the list
/// itself can lead to a refusal.
#[test]
fn the_list_can_refuse() {
    let all_differ: Vec<_> = LIST
        .iter()
        .map(|check| judge(check, &Ok("something else".into())))
        .collect();
    assert!(defect(LIST.iter().zip(&all_differ)).is_some());
    let all_same: Vec<_> = LIST
        .iter()
        .map(|check| judge(check, &Ok(check.difference.plain.into())))
        .collect();
    assert!(defect(LIST.iter().zip(&all_same)).is_none());
}
