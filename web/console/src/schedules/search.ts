/** The state of the schedules screen that a link carries. */
export interface SchedulesSearch {
  internal?: true;
}

export function readSchedulesSearch(raw: Record<string, unknown>): SchedulesSearch {
  return raw.internal === true ? { internal: true } : {};
}
