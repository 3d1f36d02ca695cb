DROP TRIGGER orders_follow_the_lifecycle ON orders;
CREATE TRIGGER orders_follow_the_lifecycle
AFTER UPDATE OF status ON orders FOR EACH ROW
WHEN (OLD.status <> NEW.status AND OLD.status || '>' || NEW.status NOT IN (
    'new>action_required', 'new>scheduled', 'new>awaiting_shop', 'new>failed', 'new>cancelled',
    'action_required>scheduled', 'action_required>awaiting_shop', 'action_required>failed',
    'action_required>cancelled', 'scheduled>awaiting_shop', 'scheduled>preparing', 'scheduled>completed',
    'scheduled>rejected', 'scheduled>failed', 'scheduled>cancelled', 'awaiting_shop>accepted',
    'awaiting_shop>preparing', 'awaiting_shop>completed', 'awaiting_shop>rejected', 'awaiting_shop>failed',
    'awaiting_shop>cancelled', 'accepted>preparing', 'accepted>ready', 'accepted>completed', 'accepted>cancelled',
    'preparing>ready', 'preparing>completed', 'preparing>cancelled', 'ready>preparing', 'ready>completed',
    'ready>cancelled', 'ready>not_collected', 'not_collected>completed'))
EXECUTE FUNCTION refuse('this change of status is not in the lifecycle');
