addEventListener("message", async ({ data, origin, source }) => {
  if (typeof data !== "string" || !source || origin === "null") return;
  const answer = async () => {
    const [, client, hash, salt] = /^(\S{1,200}) ([0-9a-f]{64})\.([\w-]{1,64})$/.exec(data) ?? [];
    if (!hash || !self.crypto?.subtle) return "error";
    const prefix = location.pathname === "/oauth/check_session" ? "__Host-" : "__Secure-";
    const name = `${location.protocol === "https:" ? prefix : ""}grantlog_state=`;
    const cookie = document.cookie.split("; ").find((pair) => pair.startsWith(name));
    // A browser that keeps the cookie from us says nothing about the session.
    if (!cookie && document.hasStorageAccess && !(await document.hasStorageAccess())) return "error";
    const text = [client, origin, cookie?.slice(name.length) ?? "", salt].join(" ");
    const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
    const now = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    return now === hash ? "unchanged" : "changed";
  };
  source.postMessage(await answer(), origin);
});
