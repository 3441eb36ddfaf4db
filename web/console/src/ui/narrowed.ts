type Change<Filter> = { [Name in keyof Filter]?: Filter[Name] | "" | undefined };

/** The filter after the change. What narrows nothing (empty, off) is left out, so that links stay short. */
export function narrowed<Filter extends object>(filter: Filter, change: Change<Filter>): Filter {
  const kept = Object.entries({ ...filter, ...change }).filter(([, value]) => Boolean(value));
  return Object.fromEntries(kept) as Filter;
}
