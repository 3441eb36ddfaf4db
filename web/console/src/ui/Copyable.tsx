import { useState } from "react";
import { IconButton } from "./Button";

/** `navigator.clipboard` exists only on secure pages; plain HTTP inside a network is common. */
async function copy(text: string): Promise<boolean> {
  if (navigator.clipboard !== undefined) {
    return navigator.clipboard.writeText(text).then(
      () => true,
      () => false,
    );
  }
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

export function Copyable({ text }: { text: string }) {
  const [done, setDone] = useState(false);
  return (
    <span style={{ display: "inline-flex", alignItems: "center", minWidth: 0, maxWidth: "100%" }}>
      <span className="mono" style={{ overflowWrap: "anywhere" }}>
        {text}
      </span>
      <IconButton
        icon={done ? "check" : "copy"}
        label={done ? "Copied" : `Copy ${text}`}
        onClick={() => void copy(text).then(setDone)}
        onBlur={() => setDone(false)}
      />
    </span>
  );
}
