#!/usr/bin/env python3
"""How long the pages of the console and the board take with a million orders behind them:
`benches/pages.py [BINARY] [ORDERS]`.

A few orders are made by the service itself; their rows are then copied in the database, under ids and times of their
own, with their events: most of them over, 20,000 under way at a hundred shops, and money astray in some thousand. Each
page is asked for again and again, one after the other, and the median and the 95th percentile of that are printed.
"""

import hashlib
import http.client
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.parse

BINARY = sys.argv[1] if len(sys.argv) > 1 else "target/dist/lungo"
ORDERS = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
ONGOING = min(20_000, ORDERS // 10)
ASTRAY = min(1_000, ORDERS // 100)
SHOPS = 100
REQUESTS = 60
LIMIT_MS = 100
PASSWORD = "a long enough password"


def start(data):
    service = subprocess.Popen([BINARY, "serve", "--listen", "127.0.0.1:0", "--data", data], stdout=subprocess.PIPE,
                               text=True, env={**os.environ, "LUNGO_LOG": "error"})
    said = ""
    for line in service.stdout:
        said += line
        if "and watch it" in line:
            break
    address = re.search(r"http://([\d.]+:\d+)", said).group(1)
    return service, address


def call(address, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(address, timeout=60)
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return answer, answer.read().decode()


def make(data):
    """A finished order and one under way."""
    service, address = start(data)
    # The service prints the link of its first user on a terminal only.
    said = subprocess.run([BINARY, "console-link", "--data", data], capture_output=True, text=True, check=True).stdout
    link = re.search(r"/console/enter/\S+", said).group(0)
    keys = dict(re.findall(r"(LUNGO_\w+)=(\S+)", open(f"{data}/demo.env").read()))
    key = lambda name: {"Authorization": f"Bearer {keys[name].strip(chr(39))}", "Content-Type": "application/json"}
    listed = lambda what: json.loads(call(address, "GET", f"/v1/admin/{what}", headers=key("LUNGO_ADMIN_KEY"))[1])[what]
    shops, partners = listed("shops"), listed("partners")
    made = {}
    for is_simulated, wanted in ((True, "completed"), (False, "awaiting_shop")):
        shop = next(shop for shop in shops if shop["simulated"] == is_simulated)["shop_id"]
        order = {"customer_id": "cus_template", "shop_id": shop, "payment": {"method": "pm_card_visa"},
                 "lines": [{"item_id": "lungo", "quantity": 2, "options": ["milk_oat"]}],
                 "total": {"amount": 820, "currency": "EUR"}}
        answer, text = call(address, "POST", "/v1/orders", json.dumps(order), key("LUNGO_PARTNER_KEY"))
        made[wanted] = json.loads(text)["order_id"]
        for _ in range(300):
            status = json.loads(call(address, "GET", f"/v1/orders/{made[wanted]}", headers=key("LUNGO_PARTNER_KEY"))[1])["status"]
            if status == wanted:
                break
            time.sleep(0.1)
    page, text = call(address, "GET", link)
    door = page.getheader("set-cookie").split(";")[0]
    token = re.search(r'name="csrf" value="([^"]+)"', text).group(1)
    form = urllib.parse.urlencode({"csrf": token, "password": PASSWORD, "again": PASSWORD})
    answer, _ = call(address, "POST", link, form, {"Cookie": door, "Origin": f"http://{address}",
                                                  "Content-Type": "application/x-www-form-urlencoded"})
    session = answer.getheader("set-cookie").split(";")[0]
    service.terminate()
    service.wait()
    return made, session, shops[0]["shop_id"], partners[0]["partner_id"], key("LUNGO_ADMIN_KEY")


def more_shops(database):
    """Copies of the shop that nobody plays: each has its share of what is under way."""
    for id, partner, body in database.execute("SELECT id, partner_id, body FROM shops").fetchall():
        if json.loads(body)["simulated"]:
            continue
        old, copies = json.loads(body)["shop_id"], []
        for n in range(SHOPS):
            new = f"{old[:-8]}{0x5000 + n:08x}"
            copies.append((bytes.fromhex(new.replace("-", "")), partner,
                           json.dumps({**json.loads(body), "shop_id": new, "name": f"Shop {n}"})))
        database.executemany("INSERT INTO shops VALUES (?,?,?)", copies)
        return [id for id, _, _ in copies]


def copy(data, made):
    database = sqlite3.connect(f"{data}/lungo.db")
    database.execute("PRAGMA journal_mode = WAL")
    columns = [row[1] for row in database.execute("PRAGMA table_info(orders)")]
    event_columns = [row[1] for row in database.execute("PRAGMA table_info(order_events)")]
    place = database.execute("SELECT MAX(position) FROM order_events").fetchone()[0]
    now = int(time.time() * 1000)
    sources = {}
    for wanted, order in made.items():
        id = bytes.fromhex(order.replace("-", ""))
        row = dict(zip(columns, database.execute("SELECT * FROM orders WHERE id = ?", (id,)).fetchone()))
        events = [dict(zip(event_columns, event)) for event in
                  database.execute("SELECT * FROM order_events WHERE order_id = ? ORDER BY version", (id,))]
        sources[wanted] = (row, events)
    shops = more_shops(database)
    rows, names, events = [], [], []

    def write():
        database.executemany(f"INSERT INTO orders VALUES ({','.join('?' * len(columns))})", rows)
        database.executemany("INSERT INTO order_names VALUES (?,?,?,?,?,?,?,?,?)", names)
        database.executemany(f"INSERT INTO order_events VALUES ({','.join('?' * len(event_columns))})", events)
        database.commit()
        rows.clear(), names.clear(), events.clear()

    for n in range(ORDERS):
        is_ongoing = n >= ORDERS - ONGOING
        row, its_events = sources["awaiting_shop" if is_ongoing else "completed"]
        at = now - (ORDERS - n) * 800
        id = at.to_bytes(6, "big") + bytes([0x70 | random.getrandbits(4)]) + random.randbytes(1) + bytes([0x80]) + random.randbytes(7)
        customer, number = f"cus_{n % (ORDERS // 5)}", n // (ORDERS // 5) + 1
        shift = at - row["created_at"]
        moved = {"id": id, "customer_id": customer, "number": number, "created_at": at}
        if is_ongoing:
            moved |= {"deadline_at": now + 3_600_000 + n, "shop_id": shops[n % SHOPS]}
        else:
            moved["closed_at"] = row["closed_at"] + shift
            if n % (ORDERS // ASTRAY) == 0:
                moved |= {"owed": row["captured"]}
            elif n % (ORDERS // ASTRAY) == 1:
                moved |= {"payment_status": "capture_failed", "captured": 0}
        placed = [id, customer.encode(), moved.get("shop_id", row["shop_id"]), row["placed"].encode()]
        moved["placed_hash"] = hashlib.sha256(b"\0".join(placed)).digest()
        rows.append([moved.get(name, row[name]) for name in columns])
        names.append((row["partner_id"], customer, number, "", id, 1, b"x" * 32, at, moved.get("closed_at")))
        for event in its_events:
            place += 1
            changed = {"position": place, "order_id": id, "at": event["at"] + shift}
            events.append([changed.get(name, event[name]) for name in event_columns])
        if len(rows) == 20_000:
            write()
    write()
    some = database.execute("SELECT id FROM orders WHERE customer_id = 'cus_7' ORDER BY id DESC LIMIT 1").fetchone()[0].hex()
    database.close()
    return text_of(some), text_of(shops[7].hex())


def text_of(id):
    return f"{id[:8]}-{id[8:12]}-{id[12:16]}-{id[16:20]}-{id[20:]}"


def sign_in(address, admin, shop):
    """The cookie of a tablet at that shop."""
    wanted = json.dumps({"kind": "shop", "shop_id": shop, "label": "tablet"})
    secret = json.loads(call(address, "POST", "/v1/admin/keys", wanted, admin)[1])["secret"]
    page, text = call(address, "GET", "/board")
    token = re.search(r'name="csrf" value="([^"]+)"', text).group(1)
    answer, text = call(address, "POST", "/board/enter", urllib.parse.urlencode({"csrf": token, "key": secret}), {
        "Cookie": page.getheader("set-cookie").split(";")[0], "Origin": f"http://{address}",
        "Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 303, text
    return answer.getheader("set-cookie").split(";")[0]


def count(address, session):
    """Counts what cancelling all that waits would do, and gives the page of that."""
    _, text = call(address, "GET", "/console/bulk", headers={"Cookie": session})
    token = re.search(r'name="csrf" value="([^"]+)"', text).group(1)
    form = urllib.parse.urlencode({"csrf": token, "deed": "cancel", "tab": "in_flight", "q": "status:awaiting_shop",
                                   "why": "equipment_failure", "refund": "full"})
    began = time.perf_counter()
    answer, text = call(address, "POST", "/console/bulk", form, {
        "Cookie": session, "Origin": f"http://{address}", "Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 303, text
    print(f"counted for a bulk action in {(time.perf_counter() - began) * 1000:.0f} ms")
    return answer.getheader("location").split("?")[0]


def main():
    with tempfile.TemporaryDirectory() as data:
        made, session, shop, partner, admin = make(data)
        order, manned = copy(data, made)
        size = os.path.getsize(f"{data}/lungo.db") / 1e9
        print(f"{ORDERS:,} orders, {ONGOING:,} of them under way, {size:.1f} GB")
        service, address = start(data)
        time.sleep(5)
        session = f"{session}; {sign_in(address, admin, manned)}"
        # Not what asks the gateway: that takes as long as the gateway does.
        pages = ["/console", "/console/orders", "/console/orders?q=status:awaiting_shop", "/console/orders?q=age%3E1h",
                 "/console/orders?q=shop:%22Lungo+Central%22", "/console/orders?q=customer:cus_7",
                 "/console/orders?q=status:preparing", "/console/orders?page=150", "/console/orders?tab=struggling",
                 "/console/orders?tab=parked", "/console/orders?tab=late", "/console/orders?tab=done",
                 "/console/orders?tab=done&q=status:failed", "/console/orders?tab=done&q=customer:cus_7",
                 f"/console/orders/{order}", f"/console/orders/{order}/state", "/console/money", f"/console/money/{order}",
                 "/console/shops", f"/console/shops/{shop}", f"/console/menus/{partner}",
                 "/console/stages", "/console/stages/state", "/console/bulk", count(address, session),
                 "/console/partners", f"/console/partners/{partner}", f"/console/requests?q={order}",
                 "/console/requests?q=a-key&customer=cus_7", "/console/drills", "/console/audit", "/console/users",
                 "/board", "/board/shop", "/board/shop/orders", "/board/shop/items"]
        is_slow = False
        try:
            connection = http.client.HTTPConnection(address, timeout=60)
            for page in pages:
                took = []
                for _ in range(REQUESTS):
                    began = time.perf_counter()
                    connection.request("GET", page, headers={"Cookie": session})
                    answer = connection.getresponse()
                    body = answer.read()
                    took.append((time.perf_counter() - began) * 1000)
                    assert answer.status == 200, (page, answer.status, body)
                took.sort()
                p95 = took[len(took) * 95 // 100]
                is_slow |= p95 >= LIMIT_MS
                print(f"{page:<64} p50 {took[len(took) // 2]:7.1f} ms   p95 {p95:7.1f} ms")
        finally:
            service.terminate()
            service.wait()
        sys.exit(1 if is_slow else 0)


main()
