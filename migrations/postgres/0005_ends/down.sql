DROP INDEX order_names_ends;
