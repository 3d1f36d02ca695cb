-- An accepted order whose hold is lost at the gateway fails before anything is made for it.
DROP TRIGGER orders_follow_the_lifecycle;
CREATE TRIGGER orders_follow_the_lifecycle
BEFORE UPDATE OF status ON orders
WHEN OLD.status <> NEW.status AND CASE OLD.status || '>' || NEW.status
    WHEN 'new>action_required' THEN 1 WHEN 'new>scheduled' THEN 1 WHEN 'new>awaiting_shop' THEN 1 WHEN 'new>failed' THEN 1
    WHEN 'new>cancelled' THEN 1 WHEN 'action_required>scheduled' THEN 1 WHEN 'action_required>awaiting_shop' THEN 1
    WHEN 'action_required>failed' THEN 1 WHEN 'action_required>cancelled' THEN 1 WHEN 'scheduled>awaiting_shop' THEN 1
    WHEN 'scheduled>preparing' THEN 1 WHEN 'scheduled>completed' THEN 1 WHEN 'scheduled>rejected' THEN 1
    WHEN 'scheduled>failed' THEN 1 WHEN 'scheduled>cancelled' THEN 1 WHEN 'awaiting_shop>accepted' THEN 1
    WHEN 'awaiting_shop>preparing' THEN 1 WHEN 'awaiting_shop>completed' THEN 1 WHEN 'awaiting_shop>rejected' THEN 1
    WHEN 'awaiting_shop>failed' THEN 1 WHEN 'awaiting_shop>cancelled' THEN 1 WHEN 'accepted>preparing' THEN 1
    WHEN 'accepted>ready' THEN 1 WHEN 'accepted>completed' THEN 1 WHEN 'accepted>failed' THEN 1 WHEN 'accepted>cancelled' THEN 1
    WHEN 'preparing>ready' THEN 1 WHEN 'preparing>completed' THEN 1 WHEN 'preparing>cancelled' THEN 1
    WHEN 'ready>preparing' THEN 1 WHEN 'ready>completed' THEN 1 WHEN 'ready>cancelled' THEN 1
    WHEN 'ready>not_collected' THEN 1 WHEN 'not_collected>completed' THEN 1
    ELSE 0 END = 0
BEGIN
    SELECT RAISE(ABORT, 'this change of status is not in the lifecycle');
END;
