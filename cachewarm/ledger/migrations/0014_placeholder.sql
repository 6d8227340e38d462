-- Holds the number of the migration that is made at the same time; it takes this file's place.

select 1;
