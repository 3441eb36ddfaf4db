import "@/ui/base.css";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "@/app/App";
import { startServices } from "@/app/services";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");
startServices();
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
