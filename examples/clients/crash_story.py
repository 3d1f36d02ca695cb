"""An app crashes and orders again, with a client that openapi-python-client generates from /openapi.json.

`.ci/clients` generates the client, checks this file with `mypy --strict`, and runs it against a server.
"""

import os
from uuid import UUID

from lungo_client import AuthenticatedClient
from lungo_client.api.orders import create_order, get_ongoing_orders
from lungo_client.models import (
    CreateOrder,
    LineRequest,
    Money,
    OngoingOrders,
    OrderView,
    PaymentRequest,
    SimilarOrderOngoingProblem,
)

CUSTOMER = "crash-story-python"
# No one works in this shop of the demo, so an order stays ongoing for as long as the story needs it.
SHOP = UUID("01970000-0000-7000-8000-000000000013")
ORDER = CreateOrder(
    customer_id=CUSTOMER,
    shop_id=SHOP,
    lines=[LineRequest(item_id="lungo", quantity=1, options=["milk_oat"])],
    total=Money(amount=410, currency="EUR"),
    payment=PaymentRequest(method="pm_card_visa"),
)


def freshly_started_app() -> AuthenticatedClient:
    """An app that remembers nothing: neither an idempotency key nor a revision nor a position."""
    return AuthenticatedClient(base_url=os.environ["LUNGO_URL"], token=os.environ["LUNGO_PARTNER_KEY"])


def ongoing(app: AuthenticatedClient) -> list[OrderView]:
    answer = get_ongoing_orders.sync(client=app, customer_id=CUSTOMER)
    assert isinstance(answer, OngoingOrders), answer
    return answer.orders


app = freshly_started_app()
assert ongoing(app) == []
first = create_order.sync_detailed(client=app, body=ORDER)
assert first.status_code == 202 and isinstance(first.parsed, OrderView), first
first_id = first.parsed.order_id

# The app crashes before it stores anything, and the customer orders once more.
app = freshly_started_app()
answer = create_order.sync(client=app, body=ORDER)
if not isinstance(answer, SimilarOrderOngoingProblem):
    raise SystemExit(f"A second coffee was ordered: {answer}")
print(f"You already have order {answer.order.order_id}.")
assert answer.order.order_id == first_id
assert [order.order_id for order in ongoing(app)] == [first_id]

# The app has shown the order, and the customer wants a second coffee on purpose.
second = create_order.sync(client=app, body=ORDER, if_match=f'"{answer.revision}"')
assert isinstance(second, OrderView), second
assert second.order_id != first_id
assert {order.order_id for order in ongoing(app)} == {first_id, second.order_id}
