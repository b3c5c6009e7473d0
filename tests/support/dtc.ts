// Runs the device-tree compiler dtc, the judge of device trees, where it is installed.

/** Whether dtc is there. */
export function hasDtc(): boolean {
  try {
    return new Deno.Command("dtc", { args: ["--version"], stdout: "null", stderr: "null" }).outputSync().success;
  } catch {
    return false;
  }
}

/** Translates between `"dtb"` and `"dts"`. `complaints` are all of dtc's warnings and errors. */
export async function dtc(
  from: "dtb" | "dts",
  to: "dtb" | "dts",
  input: Uint8Array<ArrayBuffer>,
): Promise<{ output: Uint8Array<ArrayBuffer>; complaints: string }> {
  const command = new Deno.Command("dtc", {
    args: ["-I", from, "-O", to, "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  });
  const process = command.spawn();
  const writer = process.stdin.getWriter();
  await writer.write(input);
  await writer.close();
  const { stdout, stderr } = await process.output();
  return { output: stdout, complaints: new TextDecoder().decode(stderr) };
}
