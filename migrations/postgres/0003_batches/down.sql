DROP TYPE order_name_end;
DROP TYPE seldom_order_change;
DROP TYPE order_change;
DROP TYPE order_mark;
DROP TYPE new_order_event;
DROP TYPE new_order_name;
DROP TYPE new_order;
