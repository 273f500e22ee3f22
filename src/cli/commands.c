/*
 * cli/commands: the table of commands. What is found and the help come from it; a test holds the
 * manual page, docs/man/postern.8.scd, against it.
 */
#include "cli/command.h"

#define FLAG(name, help)                                                                           \
    {                                                                                              \
        (name), NULL, (help)                                                                       \
    }
#define VALUE(name, value, help)                                                                   \
    {                                                                                              \
        (name), (value), (help)                                                                    \
    }
#define JSON FLAG("--json", "print JSON")
#define APPLY VALUE("--apply", "FILE", "commit this settings file before serving")
#define DRY_RUN FLAG("--dry-run", "check only; change nothing")
#define COMMENT VALUE("--comment", "TEXT", "why, for the history")
#define WITHIN                                                                                     \
    VALUE("--confirm-within", "N",                                                                 \
          "go back by itself after N seconds (5 to 86400) unless confirmed")
#define LIST VALUE("--list", "deny|permit", "which list")
#define DESTINATION                                                                                \
    VALUE("--destination", "D", "all messages for this destination, as `status` names it")
#define ALL FLAG("--all", "all messages")

const struct cli_command cli_commands[] = {
    {
        .name = "run",
        .summary = "gateway and console in the foreground, supervised",
        .text = "Prints one line, `ready smtp=HOST:PORT console=URL`, once both serve, and before "
                "it, as long\nas the console has no account, `setup URL` with a link that makes "
                "the first one. SIGTERM:\nstops accepting, finishes what is in flight, ends with "
                "status 0.\n\n"
                "  postern run\n"
                "  postern run --state ./try --console 127.0.0.1:8025 --apply settings.json",
        .options = { VALUE("--console", "HOST:PORT",
                           "where the console listens (127.0.0.1:8025); beyond loopback by HTTPS"),
                     APPLY },
    },
    {
        .name = "gateway",
        .summary = "the gateway alone, for service managers",
        .text = "Speaks sd_notify(3) to a service manager and takes over listening sockets that it "
                "passes.",
        .options = { APPLY },
    },
    {
        .name = "console",
        .summary = "the console alone, for service managers",
        .options = { VALUE("--console", "HOST:PORT",
                           "where it listens (127.0.0.1:8025); beyond loopback by HTTPS") },
    },

    {
        .name = "status",
        .summary = "how the gateway is now, and what needs attention",
        .options = { JSON },
        .run = cli_status,
    },

    {
        .name = "settings",
        .verb = "show",
        .args = "[KEY]",
        .summary = "the settings in force, or one value of them",
        .text = "  postern settings show\n"
                "  postern settings show connections.interface.port",
        .options = { JSON },
        .max_args = 1,
        .run = cli_settings_show,
    },
    {
        .name = "settings",
        .verb = "export",
        .summary = "the settings document, for `settings apply`",
        .text = "  postern settings export > settings.json",
        .options = { JSON },
        .run = cli_settings_export,
    },
    {
        .name = "settings",
        .verb = "apply",
        .args = "FILE",
        .summary = "put a settings document into force",
        .text = "A missing key has its default. With one wrong value nothing is changed, and each "
                "is named.\n"
                "FILE may be - for standard input. When the gateway is down the document is "
                "stored, and in\nforce from its next start. --dry-run tells which clients of the "
                "last days would be refused or\nlet in.\n\n"
                "  postern settings apply settings.json --dry-run\n"
                "  postern settings apply settings.json --comment 'new next hop'",
        .options = { DRY_RUN,
                     FLAG("--yes", "confirm what must be confirmed, such as an open relay"),
                     COMMENT, WITHIN, JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_settings_apply,
    },
    {
        .name = "settings",
        .verb = "history",
        .summary = "the revisions of the settings, newest first",
        .options = { VALUE("--limit", "N", "at most so many (50)"), JSON },
        .run = cli_settings_history,
    },
    {
        .name = "settings",
        .verb = "diff",
        .args = "A [B]",
        .summary = "what changed from revision A to B (or to the newest)",
        .text = "  postern settings diff 3 5",
        .options = { JSON },
        .min_args = 1,
        .max_args = 2,
        .run = cli_settings_diff,
    },
    {
        .name = "settings",
        .verb = "confirm",
        .summary = "keep a change that was applied with --confirm-within",
        .text = "Otherwise the revision before it comes back by itself when the time is over, also "
                "if the\ngateway was killed meanwhile.\n\n"
                "  postern settings apply settings.json --confirm-within 60\n"
                "  postern settings confirm",
        .options = { FLAG("--revert", "go back now instead") },
        .run = cli_settings_confirm,
    },
    {
        .name = "settings",
        .verb = "rollback",
        .args = "N",
        .summary = "put revision N into force again, as a new revision",
        .text = "Works with the gateway down too; then it is in force from the next start.\n\n"
                "  postern settings rollback 4",
        .options = { DRY_RUN, COMMENT, WITHIN },
        .min_args = 1,
        .max_args = 1,
        .run = cli_settings_rollback,
    },

    {
        .name = "access",
        .verb = "test",
        .args = "ADDRESS",
        .summary = "would this client be let in, and which entry decides",
        .text = "  postern access test 192.0.2.1",
        .options = { JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_access_test,
    },
    {
        .name = "access",
        .verb = "list",
        .summary = "the entries of both lists, with hits, expiry and comment",
        .text = "--search finds every entry that has an address in common with an address or a "
                "group, and\nany other text in entries and comments.\n\n"
                "  postern access list --list deny --search 192.0.2.1",
        .options = { VALUE("--list", "deny|permit", "only this list"),
                     VALUE("--search", "TEXT", "only entries that fit"),
                     VALUE("--limit", "N", "at most so many of a list (100, up to 1000)"), JSON },
        .run = cli_access_list,
    },
    {
        .name = "access",
        .verb = "add",
        .args = "ADDRESS…",
        .summary = "add single computers and groups to a list",
        .text = "An ADDRESS is 192.0.2.1, 192.0.2.0/24, 192.0.2.0:255.255.255.0 or an IPv6 "
                "address with or\nwithout a prefix length. One that is there already gets the new "
                "comment and expiry.\n\n"
                "  postern access add 192.0.2.1 --list deny --comment 'sends spam' --expires 7d\n"
                "  postern access add 2001:db8::/32 --list permit",
        .options = { LIST, VALUE("--comment", "TEXT", "why; shown wherever the entry decides"),
                     VALUE("--expires", "TIME",
                           "when it ends: 2030-01-31T18:00:00Z, or from now on 12h, 7d"),
                     DRY_RUN, JSON },
        .min_args = 1,
        .max_args = -1,
        .run = cli_access_add,
    },
    {
        .name = "access",
        .verb = "remove",
        .args = "ADDRESS…",
        .summary = "remove entries from a list",
        .text = "An ADDRESS names the entry that is exactly this computer or group.\n\n"
                "  postern access remove 192.0.2.1 --list deny",
        .options = { LIST, FLAG("--yes", "confirm that the permit list in force becomes empty"),
                     DRY_RUN, JSON },
        .min_args = 1,
        .max_args = -1,
        .run = cli_access_remove,
    },
    {
        .name = "access",
        .verb = "import",
        .args = "FILE",
        .summary = "add the entries of a list file to a list",
        .text =
            "A line an entry, `#` comments; see docs/connections.md. With one wrong line nothing "
            "is imported,\nand each is named. FILE may be - for standard input; at most 64 MiB."
            "\n\n"
            "  postern access import blocklist.txt --list deny --dry-run\n"
            "  postern access import blocklist.txt --list deny --replace",
        .options = { LIST, FLAG("--replace", "in place of what is in the list"),
                     FLAG("--valid-only", "leave wrong lines out and import the others"),
                     FLAG("--yes", "confirm that the permit list in force becomes empty"), DRY_RUN,
                     JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_access_import,
    },
    {
        .name = "access",
        .verb = "export",
        .summary = "print a list in the file format",
        .text = "  postern access export --list deny > deny.txt",
        .options = { LIST, JSON },
        .run = cli_access_export,
    },

    {
        .name = "rules",
        .verb = "import",
        .args = "FILE",
        .summary = "add the domains of a file to the relay domains",
        .text =
            "A line a domain, `*.domain` for all below it, `#` comments; see docs/policy.md. With "
            "one wrong\nline nothing is imported, and each is named. FILE may be - for standard "
            "input; at most 64 MiB.\n\n"
            "  postern rules import domains.txt --dry-run\n"
            "  postern rules import domains.txt --replace",
        .options = { FLAG("--replace", "in place of those that are there"),
                     FLAG("--valid-only", "leave wrong lines out and import the others"),
                     FLAG("--yes", "confirm that `*` makes an open relay"), DRY_RUN, JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_rules_import,
    },
    {
        .name = "rules",
        .verb = "export",
        .summary = "print the relay domains, a line each",
        .text = "  postern rules export > domains.txt",
        .options = { JSON },
        .run = cli_rules_export,
    },

    {
        .name = "connections",
        .verb = "list",
        .summary = "the clients that are connected now, the oldest first",
        .text = "  postern connections list\n"
                "  postern connections list --address 192.0.2.0/24",
        .options = { VALUE("--address", "A", "only those of this address or group"),
                     VALUE("--limit", "N", "at most so many (1000; with --json all)"), JSON },
        .run = cli_connections_list,
    },
    {
        .name = "connections",
        .verb = "show",
        .args = "ID",
        .summary = "one of them",
        .options = { JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_connections_show,
    },
    {
        .name = "connections",
        .verb = "disconnect",
        .args = "ID…",
        .summary = "end sessions: 421 4.3.2 between two commands",
        .text =
            "In the middle of a message it is said with the client's next command, so that the\n"
            "message is not lost. The client may come again: to keep it out, put it on the deny "
            "list.",
        .options = { FLAG("--now", "do not wait for the next command; a message under way is "
                                   "broken off") },
        .min_args = 1,
        .max_args = -1,
        .run = cli_connections_disconnect,
    },
    {
        .name = "connections",
        .verb = "limits",
        .summary = "what limits have refused and, watched only, would have",
        .text = "Since the start, by limit, and by client for what was watched. The limits are\n"
                "connections.limits of the settings.",
        .options = { VALUE("--limit", "N", "at most so many clients (100, up to 1000)"), JSON },
        .run = cli_connections_limits,
    },
    {
        .name = "connections",
        .verb = "bans",
        .summary = "the clients that are kept out for a while",
        .options = { VALUE("--limit", "N", "at most so many (100, up to 1000)"), JSON },
        .run = cli_connections_bans,
    },
    {
        .name = "connections",
        .verb = "ban",
        .args = "ADDRESS…",
        .summary = "keep a client out for a while: 421 4.7.0",
        .text =
            "An IPv4 address, or an IPv6 address, which stands for its /64. It is forgotten when\n"
            "the gateway ends; for good, or for a group, `postern access add --expires`.\n\n"
            "  postern connections ban 192.0.2.1 --minutes 30 --comment 'mail loop'",
        .options = { VALUE("--minutes", "N", "how long (60, up to 43200)"),
                     VALUE("--comment", "TEXT", "why") },
        .min_args = 1,
        .max_args = -1,
        .run = cli_connections_ban,
    },
    {
        .name = "connections",
        .verb = "unban",
        .args = "ADDRESS…",
        .summary = "let a client in again before its time",
        .min_args = 1,
        .max_args = -1,
        .run = cli_connections_unban,
    },

    {
        .name = "explain",
        .args = "ADDRESS",
        .summary = "what would become of such a client, rule by rule, and the reply it would get",
        .text =
            "By the code that decides in a session, with what the client has done by now. Behind "
            "the rule\nthat decides stands what would have come next. With --draft as if "
            "that settings document\nwere in force.\n\n"
            "`explain ref XXXX-XXXX` tells what the reference at the end of a refusal leads to: "
            "client, time,\nrule, the entry that decided with its comment and who added it, and "
            "the "
            "envelope. References are\nkept for 30 days; of a flood of refusals only some.\n\n"
            "  postern explain ref 7K2M-Q4XD\n"
            "  postern explain 192.0.2.1 --from a@example.org --to b@example.com\n"
            "  postern explain 2001:db8::1 --draft settings.json",
        .options = { VALUE("--helo", "NAME", "the name in HELO or EHLO"),
                     VALUE("--from", "A", "the sender"), VALUE("--to", "A", "the recipient"),
                     VALUE("--size", "N", "the octets that SIZE announces"),
                     FLAG("--tls", "the session is encrypted"),
                     VALUE("--draft", "FILE", "under this settings document; - is standard input"),
                     JSON },
        .min_args = 1,
        .max_args = 2,
        .run = cli_explain,
    },

    {
        .name = "tls",
        .verb = "install",
        .summary = "upload a certificate and put it into force",
        .text = "Files in PEM or DER; the chain may stand in any order, in --cert or in --ca. "
                "Everything is\nchecked before anything changes. Open sessions keep the "
                "certificate they began with, so a\nrenewal hook needs nothing else.\n\n"
                "  postern tls install --cert fullchain.pem --key privkey.pem",
        .options = { VALUE("--cert", "FILE", "the server's certificate, with its chain"),
                     VALUE("--key", "FILE", "its private key"),
                     VALUE("--ca", "FILE", "certificates that complete the chain"),
                     VALUE("--passphrase-file", "FILE",
                           "the first line opens an encrypted private key"),
                     FLAG("--yes", "also if it has expired"), COMMENT, JSON },
        .run = cli_tls_install,
    },
    {
        .name = "tls",
        .verb = "upload",
        .summary = "upload a certificate, or a CA, without putting it into force",
        .text = "Prints the ID by which the settings name it: connections.tls.certificate takes "
                "one ID, or a list\nof one for each type of key; connections.tls.client_ca and the "
                "ca of a route take a CA.\n\n"
                "  postern tls upload --ca partners.pem\n"
                "  postern tls upload --cert rsa.pem --key rsa.key",
        .options = { VALUE("--cert", "FILE", "the server's certificate, with its chain"),
                     VALUE("--key", "FILE", "its private key"),
                     VALUE("--ca", "FILE",
                           "certificates that complete the chain; alone: a CA to verify others by"),
                     VALUE("--passphrase-file", "FILE",
                           "the first line opens an encrypted private key"),
                     JSON },
        .run = cli_tls_upload,
    },
    {
        .name = "tls",
        .verb = "show",
        .summary = "the certificate that is configured, and the one that is served",
        .text = "Connects to the gateway's own listener as a client would. Status 1 when the two "
                "differ.",
        .options = { JSON },
        .run = cli_tls_show,
    },
    {
        .name = "tls",
        .verb = "list",
        .summary = "the uploaded certificates",
        .options = { JSON },
        .run = cli_tls_list,
    },
    {
        .name = "tls",
        .verb = "remove",
        .args = "ID",
        .summary = "remove a certificate that is not in use",
        .text = "  postern tls remove db5ff5f681fd8097",
        .min_args = 1,
        .max_args = 1,
        .run = cli_tls_remove,
    },
    {
        .name = "tls",
        .verb = "check",
        .args = "HOST[:PORT]",
        .summary = "what a delivery to this next hop would find, and whether it would do",
        .text = "Connects as a delivery would, begins TLS, says goodbye. Judged by the routes that "
                "lead\nthere, or by the one of --domain. Status 1 when a demand would not be "
                "met.\n\n"
                "  postern tls check relay.example.com:25\n"
                "  postern tls check mx1.example.org --domain example.org",
        .options = { VALUE("--domain", "D", "judge by the route of this domain"), JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_tls_check,
    },

    {
        .name = "route",
        .verb = "test",
        .args = "ADDRESS",
        .summary = "where mail for an address would go, and why",
        .text = "Which route fits and which nearly did, what it demands and limits, the next hops "
                "with what the DNS\nsays, which of them is this gateway, how they are now. ADDRESS "
                "may be a domain alone. With\n--draft as if that settings document were in "
                "force.\n\n"
                "  postern route test ann@example.com\n"
                "  postern route test example.com --draft settings.json",
        .options = { VALUE("--draft", "FILE", "under this settings document; - is standard input"),
                     JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_route_test,
    },

    {
        .name = "queue",
        .verb = "list",
        .summary = "the messages in the queue, oldest first",
        .text =
            "STATUS is queued (not tried yet), deferred, delivering, in_doubt (sent, the answer "
            "never\n"
            "came) or held; a message is in every state that one of its recipients is in. AGE is\n"
            "a number with s, m, h or d.\n\n"
            "  postern queue list --recipient ann@example.com\n"
            "  postern queue list --status deferred --older-than 2h",
        .options = { VALUE("--destination", "D", "only for this destination"),
                     VALUE("--sender", "A", "only from this address"),
                     VALUE("--recipient", "A", "only to this address"),
                     VALUE("--status", "STATUS", "only messages of this status"),
                     FLAG("--held", "the same as --status held"),
                     VALUE("--older-than", "AGE", "only messages that came before that"),
                     VALUE("--newer-than", "AGE", "only messages that came since"),
                     FLAG("--newest", "the newest first"),
                     VALUE("--limit", "N", "at most so many (1000; with --json all)"), JSON },
        .run = cli_queue_list,
    },
    {
        .name = "queue",
        .verb = "show",
        .args = "ID",
        .summary = "one message: each recipient with attempts and last reply, its history",
        .text = "The history is what the log in STATE/log has of the message.",
        .options = { JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_queue_show,
    },
    {
        .name = "queue",
        .verb = "retry",
        .args = "[ID…]",
        .summary = "try again now; held messages stay held",
        .text = "  postern queue retry --all\n"
                "  postern queue retry 0B2F4K6M8Q1",
        .options = { DESTINATION, ALL },
        .max_args = -1,
        .run = cli_queue_act,
    },
    {
        .name = "queue",
        .verb = "hold",
        .args = "[ID…]",
        .summary = "keep messages back until they are released",
        .options = { DESTINATION, ALL },
        .max_args = -1,
        .run = cli_queue_act,
    },
    {
        .name = "queue",
        .verb = "release",
        .args = "[ID…]",
        .summary = "let held messages go",
        .options = { DESTINATION, ALL },
        .max_args = -1,
        .run = cli_queue_act,
    },
    {
        .name = "queue",
        .verb = "redirect",
        .args = "[DESTINATION|ID…]",
        .summary = "send queued mail to another next hop than the routes lead to",
        .text = "For a destination in trouble: its queued mail goes to --to at once and stays "
                "redirected, also\nacross a restart, until it is delivered or --undo. Mail that "
                "comes later goes by the routes. What\na route demands (TLS and its CA, source, "
                "protocol) is demanded of the other next hop too.\n\n"
                "  postern queue redirect mx:example.com --to relay.example.net\n"
                "  postern queue redirect mx:example.com --undo\n"
                "  postern queue redirect 0B2F4K6M8Q1 --to 192.0.2.7:2525",
        .options = { VALUE("--to", "HOST[:PORT]", "where it goes; port 25 unless told"),
                     FLAG("--undo", "where the routes lead again"), DESTINATION, ALL, JSON },
        .max_args = -1,
        .run = cli_queue_redirect,
    },
    {
        .name = "queue",
        .verb = "suspend",
        .args = "DESTINATION",
        .summary = "hand nothing to a destination for a while",
        .text = "Mail for it is still taken and waits; `queue retry` leaves it waiting. Senders "
                "hear of the delay,\nand mail that is too old goes back, as ever. Without --for "
                "it holds until `queue resume`. A\ndestination is named as in `status`, or by its "
                "domain; what a route demands of it (/tls=…) may\nbe left out and then does not "
                "matter.\n\n"
                "  postern queue suspend example.com --for 2h --reason 'they move house'",
        .options = { VALUE("--for", "TIME", "so long: 90s, 30m, 2h, 5d"),
                     VALUE("--reason", "TEXT", "why, for other administrators; no sender sees it"),
                     JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_queue_suspend,
    },
    {
        .name = "queue",
        .verb = "resume",
        .args = "DESTINATION",
        .summary = "let a suspended destination go on",
        .text = "  postern queue resume example.com",
        .options = { JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_queue_resume,
    },
    {
        .name = "queue",
        .verb = "suspensions",
        .summary = "the suspended destinations: since when, by whom, why, until when",
        .options = { JSON },
        .run = cli_queue_suspensions,
    },
    {
        .name = "queue",
        .verb = "delete",
        .args = "[ID…]",
        .summary = "remove messages; nobody is told",
        .options = { DESTINATION, ALL },
        .max_args = -1,
        .run = cli_queue_act,
    },
    {
        .name = "queue",
        .verb = "bounce",
        .args = "[ID…]",
        .summary = "give messages up now and tell their senders",
        .options = { DESTINATION, ALL },
        .max_args = -1,
        .run = cli_queue_act,
    },
    {
        .name = "queue",
        .verb = "export",
        .args = "[ID…]",
        .summary = "write messages as files, ID.eml, as they were received",
        .text = "The messages stay in the queue.\n\n"
                "  postern queue export 0B2F4K6M8Q1\n"
                "  postern queue export --all --to ./mail",
        .options = { DESTINATION, ALL,
                     VALUE("--to", "DIR",
                           "into this folder, which must exist (.); - writes one message to "
                           "standard output") },
        .max_args = -1,
        .run = cli_queue_export,
    },

    {
        .name = "spool",
        .verb = "check",
        .summary = "verify the spool, every message's content included; the gateway must be down",
        .text =
            "Changes nothing. Damage is told on standard error, a line for each, and makes the\n"
            "status 1.",
        .options = { JSON },
        .run = cli_spool_check,
    },
    {
        .name = "spool",
        .verb = "export",
        .args = "DIR",
        .summary = "write every kept message as a file; the gateway must be down",
        .text = "DIR/ID.eml as it was received, and the envelopes to DIR/envelopes.jsonl.\n\n"
                "  postern spool export ./rescued",
        .options = { JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_spool_export,
    },

    {
        .name = "admin",
        .verb = "add",
        .args = "NAME",
        .summary = "make an account of the console",
        .text = "The password is asked for; where standard input is no terminal, its first line is "
                "taken. An\noperator works on the queue, a viewer only looks. Works with gateway "
                "and console up and down.\n\n"
                "  postern admin add ann\n"
                "  postern admin add bob --role viewer < password-file",
        .options = { VALUE("--role", "R", "administrator (the default), operator or viewer") },
        .min_args = 1,
        .max_args = 1,
        .run = cli_admin_add,
    },
    {
        .name = "admin",
        .verb = "passwd",
        .args = "NAME",
        .summary = "give an account a new password, and log it out everywhere",
        .text = "  postern admin passwd ann",
        .min_args = 1,
        .max_args = 1,
        .run = cli_admin_passwd,
    },
    {
        .name = "admin",
        .verb = "list",
        .summary = "the accounts of the console",
        .options = { JSON },
        .run = cli_admin_list,
    },
    {
        .name = "admin",
        .verb = "second-factor",
        .args = "NAME",
        .summary = "let an account log in with its password alone, when its device is lost",
        .text = "  postern admin second-factor ann --off",
        .options = { FLAG("--off", "forget the key and the recovery codes") },
        .min_args = 1,
        .max_args = 1,
        .run = cli_admin_second_factor,
    },
    {
        .name = "admin",
        .verb = "remove",
        .args = "NAME",
        .summary = "remove an account with its tokens, and log it out",
        .text = "  postern admin remove bob",
        .options = { FLAG("--yes", "also the last administrator") },
        .min_args = 1,
        .max_args = 1,
        .run = cli_admin_remove,
    },
    {
        .name = "audit",
        .summary = "who did what, and when: changes of the settings, actions on the queue",
        .text = "Newest first, with what a change of the settings has changed. Works with the "
                "gateway down\ntoo.\n\n"
                "  postern audit --since 2026-11-24T00:00:00Z\n"
                "  postern audit --actor ann --action queue.delete",
        .options = { VALUE("--since", "TIME", "from then on (RFC 3339)"),
                     VALUE("--until", "TIME", "before then"),
                     VALUE("--actor", "NAME", "only what this administrator did"),
                     VALUE("--action", "A", "only this, such as queue.delete; or settings, queue"),
                     VALUE("--limit", "N", "at most so many (50, up to 500)"), JSON },
        .run = cli_audit,
    },
    {
        .name = "events",
        .summary = "what happens, as it happens, until it is interrupted",
        .text = "First how settings, queue and the rest are now; then their changes, and what the "
                "log says of\nmessages and of those who are refused.\n\n"
                "  postern events\n"
                "  postern events --types message,refusal --json",
        .options = { VALUE("--types", "T,T",
                           "only these: settings, pending, status, connections, queue, message, "
                           "refusal"),
                     JSON },
        .run = cli_events,
    },
    {
        .name = "trace",
        .args = "ID|ADDRESS",
        .summary = "the life of a message, event by event, from the log",
        .text = "An address finds every message that it sent or was to receive, the newest last."
                "\n\n"
                "  postern trace 0B2F4K6M8Q1\n"
                "  postern trace ann@example.com",
        .options = { JSON },
        .min_args = 1,
        .max_args = 1,
        .run = cli_trace,
    },
    { .name = NULL },
};
