//! Many credentials on one actor, each by itself.

use super::*;

#[tokio::test(start_paused = true)]
async fn one_timer_serves_all_credentials_however_often_they_are_refreshed() {
    let (auth, clock) = start().await;
    let mut tokens = Vec::new();
    for n in 0..100 {
        let source = SourceFn::new(async |n| issue(n, Duration::from_secs(60)));
        let credential = Credential::new(format!("t{n}"), source);
        tokens.push(auth.token(credential).await.expect("a token"));
    }
    for _ in 0..100 {
        clock.advance(Duration::from_secs(7)).await;
        settle().await;
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        assert!(tasks <= 5, "three actors and two timers, not {tasks} tasks");
    }
    assert!(tokens.iter().all(|token| token.current().is_ok()));
}

/// A crowd of credentials, an issuer each.
async fn crowd(auth: &Auth, range: std::ops::Range<usize>) -> Vec<(Issuer, TokenHandle)> {
    let mut crowd = Vec::with_capacity(range.len());
    for n in range {
        let mood = match n % 100 {
            13 => Mood::Hangs,
            26 => Mood::Down,
            39 => Mood::Refuses,
            _ => Mood::Issues,
        };
        let issuer = Issuer::new(mood).lifetime(10 * MINUTE);
        let credential = Credential::new(format!("tenant-{n}"), issuer.clone());
        let token = auth.token(credential.start(Start::Background)).await;
        crowd.push((issuer, token.expect("in the background")));
    }
    settle().await;
    crowd
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_credentials_are_kept_and_those_that_fail_delay_no_other() {
    let (auth, _clock) = start().await;
    let crowd = crowd(&auth, 0..10_000).await;
    for _ in 0..12 {
        pass(5 * MINUTE).await;
        for (n, (_, token)) in crowd.iter().enumerate() {
            let fails = matches!(n % 100, 13 | 26 | 39);
            assert_eq!(token.current().is_err(), fails, "tenant-{n}");
        }
    }
    for (n, (issuer, _)) in crowd.iter().enumerate() {
        let (asked, gaps) = (issuer.asked(), issuer.gaps());
        match n % 100 {
            13 | 26 => assert!((60..=720).contains(&asked), "{asked} attempts"),
            39 => assert!((5..=40).contains(&asked), "{asked} probes"),
            _ => {
                // Each on its own schedule to the millisecond, whatever the others do.
                assert!((8..=10).contains(&asked), "{asked} tokens in an hour");
                let on_time = 405 * SECOND..=450 * SECOND + ms(2);
                assert!(gaps.iter().all(|gap| on_time.contains(gap)), "{gaps:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_come_and_go_while_the_others_are_kept() {
    let (auth, _clock) = start().await;
    let stays = crowd(&auth, 0..10).await;
    let mut comes = Vec::new();
    for round in 1..=60 {
        let next = crowd(&auth, round * 100..(round + 1) * 100).await;
        pass(MINUTE).await;
        // The former hundred go, in the middle of whatever they are doing.
        let gone = std::mem::replace(&mut comes, next);
        let issuers: Vec<_> = gone.into_iter().map(|(issuer, _)| issuer).collect();
        pass(ms(100)).await;
        assert!(issuers.iter().all(|issuer| issuer.in_flight() == 0));
        assert!(issuers.iter().all(|issuer| !issuer.is_held()));
        assert_eq!(auth.health().tokens.len(), stays.len() + comes.len());
        assert!(stays.iter().all(|(_, token)| token.current().is_ok()));
    }
    assert!(stays.iter().all(|(issuer, _)| issuer.asked() <= 10));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_thread_sends_the_new_token_from_its_next_request_on() {
    let auth = Auth::start().await.expect("started");
    let source = SourceFn::new(async |n| issue(n, LIFETIME));
    let policy = RefreshPolicy::for_tokens().demand_floor(ms(10));
    let credential = Credential::new("t", source).refresh(policy);
    let token = auth.token(credential).await.expect("a token");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let token = token.clone();
            let (round, rounds) = std::sync::mpsc::channel::<std::sync::mpsc::Sender<String>>();
            let thread = std::thread::spawn(move || {
                for answer in rounds {
                    let sent = std::iter::repeat_with(|| served(&token)).take(3);
                    answer.send(sent.last().expect("three")).expect("heard");
                }
            });
            (round, thread)
        })
        .collect();
    for _ in 0..5 {
        let current = served(&token);
        for (round, _) in &threads {
            let (answer, answers) = std::sync::mpsc::channel();
            round.send(answer).expect("heard");
            assert_eq!(answers.recv().expect("an answer"), current);
        }
        tokio::time::sleep(ms(20)).await;
        let rejected = token.current().expect("one");
        token.renew(&rejected).await.expect("another");
    }
    for (round, thread) in threads {
        drop(round);
        thread.join().expect("no panic");
    }
}
