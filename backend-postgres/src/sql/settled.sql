    -- Goes on from `asked`: writes the rows of the runs whose turns were appended, and clears up behind ends.
    returning run
),
done as materialized (
    select fit.* from fit where fit.turn is null or coalesce(fit.number in (select run from appended), false)
),
moved as (
    update longhaul.standing s set
        read_to = greatest(s.read_to, d.read),
        sealed = d.action = 'drain' and (s.sealed or d.seal),
        owner = case d.action when 'drain' then s.owner end,
        status = coalesce(d.status, s.status),
        due_at = case d.action when 'drain' then s.due_at when 'park' then d.wake_at when 'pause' then null
            when 'end' then null else longhaul.at($1) end,
        woken_at = case when d.action = 'drain' and s.arrivals > greatest(s.read_to, d.read) then s.woken_at end,
        lost = case when d.action = 'drain' or s.owner is null then s.lost else 0 end,
        lost_turns = case when d.action = 'drain' then s.lost_turns
            when d.turn is not null then d.turn + 1
            else coalesce((
                select max(turn.turn) + 1 from longhaul.turn where turn.run = s.run and turn.segment = s.segment), 0) end,
        blocked_reason = case d.action when 'drain' then s.blocked_reason else d.reason end,
        blocked_build = case d.action when 'drain' then s.blocked_build else d.build end,
        last_write = case when d.turn is null then d.write else s.last_write end,
        updated_at = longhaul.at($1)
    from done d where s.run = d.number and d.action <> 'append'
),
-- The attempts of a paused run are neither ready nor delayed.
stilled as (
    update longhaul.attempt q set ready = null
    from done d where d.action = 'pause' and q.run = d.number and q.claimed_by is null
),
stirred as (
    update longhaul.attempt q set ready = q.ready_at <= longhaul.at($1)
    from done d join held h on h.run = d.number and h.status = 'Paused'
    where d.action not in ('pause', 'end') and q.run = d.number and q.claimed_by is null
),
-- A write that changes nothing of the row is known by it all the same when no turn names it.
remembered as (
    update longhaul.standing s set last_write = d.write
    from done d where s.run = d.number and d.action = 'append' and d.turn is null
),
forgotten as (
    delete from longhaul.inbox i using done d where d.action = 'end' and i.run = d.number
),
outdated as (
    delete from longhaul.outcome o using done d where d.action = 'end' and o.run = d.number
),
dismissed as (
    delete from longhaul.attempt q using done d where d.action = 'end' and q.run = d.number
)
