import {
  createRootRoute,
  createRoute,
  createRouter,
  Link,
  lazyRouteComponent,
} from "@tanstack/react-router";
import { readOverviewSearch } from "@/overview/search";
import { readSchedulesSearch } from "@/schedules/search";
import { readSlotsSearch } from "@/slots/search";
import { readListSearch } from "@/subscriptions/search";
import { buttonClass } from "@/ui/Button";
import { Empty, Panel, ProblemPanel } from "@/ui/Panel";
import { Shell } from "./Shell";

function NotFound() {
  return (
    <Panel title="Not found">
      <Empty
        action={
          <Link to="/" className={buttonClass()}>
            Go to the overview
          </Link>
        }
      >
        There is no screen at this address.
      </Empty>
    </Panel>
  );
}

const root = createRootRoute({ component: Shell, notFoundComponent: NotFound });

export const overviewRoute = createRoute({
  getParentRoute: () => root,
  path: "/",
  validateSearch: readOverviewSearch,
  component: lazyRouteComponent(() => import("@/overview/Overview"), "Overview"),
});

export const subscriptionsRoute = createRoute({
  getParentRoute: () => root,
  path: "/subscriptions",
  validateSearch: readListSearch,
  component: lazyRouteComponent(() => import("@/subscriptions/List"), "SubscriptionList"),
});

export const subscriptionRoute = createRoute({
  getParentRoute: () => root,
  path: "/subscriptions/$id",
  component: lazyRouteComponent(() => import("@/subscriptions/Detail"), "SubscriptionDetail"),
});

export const schedulesRoute = createRoute({
  getParentRoute: () => root,
  path: "/schedules",
  validateSearch: readSchedulesSearch,
  component: lazyRouteComponent(() => import("@/schedules/Schedules"), "Schedules"),
});

export const slotsRoute = createRoute({
  getParentRoute: () => root,
  path: "/slots",
  validateSearch: readSlotsSearch,
  component: lazyRouteComponent(() => import("@/slots/List"), "SlotList"),
});

export const integrationsRoute = createRoute({
  getParentRoute: () => root,
  path: "/integrations",
  component: lazyRouteComponent(() => import("@/integrations/Integrations"), "Integrations"),
});

export const keysRoute = createRoute({
  getParentRoute: () => root,
  path: "/keys",
  component: lazyRouteComponent(() => import("@/keys/Keys"), "Keys"),
});

export const iterationRoute = createRoute({
  getParentRoute: () => root,
  path: "/iterations/$id",
  component: lazyRouteComponent(() => import("@/iterations/Detail"), "IterationPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([
    overviewRoute,
    schedulesRoute,
    slotsRoute,
    iterationRoute,
    subscriptionsRoute,
    subscriptionRoute,
    integrationsRoute,
    keysRoute,
  ]),
  defaultErrorComponent: ({ error, reset }) => <ProblemPanel error={error} onRetry={reset} />,
  // The browser keeps the place; nothing is preloaded behind the operator's back.
  scrollRestoration: true,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
