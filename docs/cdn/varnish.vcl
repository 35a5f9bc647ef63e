# Airwave behind Varnish 6.0 or newer: docs/cdn.md. Change the two lines marked "<-".
vcl 4.1;

import std;

backend airwave {
    .host = "127.0.0.1";                # <- Airwave's plain HTTP listener
    .port = "8080";                     # <-
    # A reload may wait for three target durations.
    .first_byte_timeout = 60s;
    .between_bytes_timeout = 60s;
}

sub vcl_recv {
    # Who checks tokens may say so, and nobody else: Airwave believes this Varnish.
    unset req.http.Airwave-Edge;
    if (req.method != "GET" && req.method != "HEAD") {
        return (pass);
    }
    # Pages and the API are Airwave's own business. A token is one viewer's: it has to be checked each time.
    if (req.url !~ "^/[0-9A-Za-z_-]+/(manifest|media|thumbnails)/") {
        return (pass);
    }
    # Of the query only what Airwave reads, sorted.
    set req.url = regsuball(req.url, "(?<=[?&])(?!(_HLS_msn|_HLS_part|_HLS_skip|clientBandwidthHint|duration|dvrEnabled|fit|fps|height|protocol|segments|start|time|width)=)[^&]*&?", "");
    set req.url = std.querysort(regsub(req.url, "[?&]$", ""));
    unset req.http.Cookie;
    return (hash);
}

sub vcl_hash {
    # Media of what is open are the same under every first segment.
    if (req.url ~ "^/[^/]+/media/") {
        hash_data(regsub(req.url, "^/[^/]+", ""));
        return (lookup);
    }
    hash_data(req.url);
    return (lookup);
}

sub vcl_backend_response {
    # A playlist that is too old is worse than one that takes a moment.
    set beresp.grace = 0s;
}
