    -- Leaves a run alone whose id is taken.
    on conflict (id) do nothing
