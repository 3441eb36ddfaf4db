import { Choice } from "@/ui/Filters";
import { useJobs } from "./data";

interface JobChoiceProps {
  value: string | undefined;
  onChange: (job: string) => void;
}

export function JobChoice({ value, onChange }: JobChoiceProps) {
  const jobs = useJobs();
  const options = (jobs.data ?? []).map(({ name }) => ({ value: name, word: name }));
  return (
    <Choice
      label="Job"
      all="All jobs"
      isSearch
      value={value}
      options={options}
      onChange={onChange}
    />
  );
}
