-- Lets an attempt be neither ready nor delayed: nobody has claimed it, and its run is paused.

alter table longhaul.attempt alter column ready drop not null;
