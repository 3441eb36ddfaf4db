const paths = {
  overview: "M3 4.5h7M3 8h10M6 11.5h7",
  subscriptions:
    "M5.5 7a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4ZM1.8 13c.3-2.2 1.8-3.5 3.7-3.5S8.9 10.8 9.2 13M10.8 7a1.9 1.9 0 0 0 0-3.8M11.5 9.6c1.6.2 2.6 1.4 2.8 3.4",
  flower:
    "M8 8m-1.7 0a1.7 1.7 0 1 0 3.4 0 1.7 1.7 0 1 0-3.4 0M8 6.3V2.5M8 13.5V9.7M6.3 8H2.5M13.5 8H9.7",
  book: "M3 3.2c1.8-.7 3.5-.6 5 .5 1.5-1.1 3.2-1.2 5-.5v9.3c-1.8-.7-3.5-.6-5 .5-1.5-1.1-3.2-1.2-5-.5V3.2ZM8 3.7V13",
  play: "M5 3.3v9.4l7.5-4.7L5 3.3Z",
  table: "M2.5 3.5h11v9h-11zM2.5 6.5h11M6 6.5v6",
  lanes: "M2.5 4h5M4.5 8h8M9 12h4.5",
  check: "M3.5 8.5l3 3 6-7",
  cross: "M4 4l8 8M12 4l-8 8",
  clock: "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM8 4.8V8l2.2 1.6",
  skull: "M8 2.5 14 13H2L8 2.5ZM8 6.5v3M8 11.3v.1",
  question:
    "M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12ZM6.3 6.3c.1-1 .8-1.6 1.8-1.6s1.7.6 1.7 1.5c0 1.3-1.8 1.3-1.8 2.7M8 11.2v.1",
  stop: "M4.5 4.5h7v7h-7z",
  spinner: "M8 2.5a5.5 5.5 0 1 1-5.5 5.5",
  dash: "M4 8h8",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  diamond: "M8 2.5 13.5 8 8 13.5 2.5 8 8 2.5Z",
  signal: "M8 12.5v.1M5.5 10a3.6 3.6 0 0 1 5 0M3 7.4a7.2 7.2 0 0 1 10 0",
  offline:
    "M2.5 2.5l11 11M8 12.5v.1M5.5 10a3.6 3.6 0 0 1 3-1M3 7.4a7.3 7.3 0 0 1 2.3-1.5M9 5.2c1.5.2 2.9 1 4 2.2",
  lock: "M4 7.5h8v6H4zM5.8 7.5V5.3a2.2 2.2 0 0 1 4.4 0v2.2",
  key: "M10 9.5a3.3 3.3 0 1 0-3.1-2.2L2.5 11.7v1.8h2.2l1-1v-1.2h1.2l1.1-1.1M10.6 5.4v.1",
  alert: "M8 2.5 14 13H2L8 2.5ZM8 6.5v3M8 11.3v.1",
  external: "M6.5 3.5h-3v9h9v-3M9 3h4v4M12.8 3.2 7.5 8.5",
  logout: "M6.5 3H3v10h3.5M10 5.2 12.8 8 10 10.8M12.5 8H6.5",
  copy: "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
  left: "M9.8 3.5 5.2 8l4.6 4.5",
  search: "M7.2 11.7a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM10.5 10.5l3 3",
  plus: "M8 3.5v9M3.5 8h9",
  keyboard: "M2 4.5h12v7.5H2zM4.5 7h.1M7 7h.1M9.5 7h.1M12 7h.1M5 9.7h6",
  bell: "M4.3 11V7.2a3.7 3.7 0 0 1 7.4 0V11l1 1.2H3.3l1-1.2ZM6.9 13.8h2.2",
  card: "M2 4h12v8.5H2zM2 6.8h12M4.3 10h2.5",
  user: "M8 7.7a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5ZM3.3 13.3c.4-2.5 2.3-4 4.7-4s4.3 1.5 4.7 4",
  plug: "M6 2.5v3M10 2.5v3M4 5.5h8v2.2a4 4 0 0 1-8 0V5.5ZM8 11.7v2.1",
  power: "M8 2.5v5M4.9 4.3a5 5 0 1 0 6.2 0",
} as const;

export type IconName = keyof typeof paths;

/** Always beside words or an accessible name: a drawing alone tells nothing. */
export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg
      aria-hidden="true"
      focusable="false"
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.5"
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={paths[name]} />
    </svg>
  );
}
