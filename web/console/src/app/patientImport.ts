const FIRST_MS = 1_000;
const LONGEST_MS = 30_000;

/** A later part of the page. The network may be away just when it is wanted: then it is asked for again. */
export async function patientImport<T>(load: () => Promise<T>): Promise<T> {
  for (let wait = FIRST_MS; ; wait = Math.min(LONGEST_MS, wait * 2)) {
    try {
      return await load();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}
