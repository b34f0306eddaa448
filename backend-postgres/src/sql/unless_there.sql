    -- Leaves a turn that is there already: this statement may have been sent before.
    on conflict do nothing
