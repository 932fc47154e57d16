// The requests that a client sends, as the tests see them.

/** Returns a fetch that records the method and the status of each request. It adds the headers of a page, as a browser does. */
export function recording(lines, headers = {}) {
  return async (url, init) => {
    const response = await fetch(url, { ...init, headers: { ...init.headers, ...headers } });
    lines.push(`${init.method ?? "GET"} ${response.status}`);
    return response;
  };
}

// A page of a front end in development, which a demo allows.
export const PAGE = { Origin: "http://localhost:5173" };
