-- A hash of every value of a set's rows, in their order.
--
-- in:     set_rows
-- out:    one row per row, the columns of the set with hashes for values
-- note:   DuckDB's 64-bit hash: two different values of one cell are equal with a chance of 2^-64.

select hash(columns(*)) from set_rows
