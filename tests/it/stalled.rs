//! Whoever does not answer holds up only itself.

use crate::server::{Server, fresh, teas, text};

/// Nobody's patience ends within this test: what is silent is silent to its end.
const PATIENT: &[&str] =
    &["--call-timeout=10m", "--lease=1h", "--authorization-deadline=2h", "--authorize-limit=4", "--pace=zero"];

#[test]
fn orders_of_other_payment_methods_go_on_while_one_method_is_silent() {
    let server = Server::start(PATIENT);
    let order = |method| text(&server.created(&teas(&fresh("cus"), 1, method, None))["order_id"]);
    // Many more than may be under way at once, so that they wait in memory, and behind that in the database.
    let silent: Vec<String> = (0..40).map(|_| order("pm_silent")).collect();
    for _ in 0..10 {
        server.wait_for_status(&order("pm_card_visa"), "accepted");
    }
    for id in &silent {
        assert_eq!(server.order(id)["status"], "new");
    }
    // One that waits can be cancelled, and nothing of it is held up.
    server.cancel(&silent[39]).expect(200);
    assert_eq!(server.order(&silent[39])["status"], "cancelled");
}
