// The token of a mail's link leaves the address of the page, and the browser's history.
"use strict";

if (location.search) history.replaceState(null, "", location.pathname);
