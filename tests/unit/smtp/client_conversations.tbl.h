static const struct conversation conversations[] = {
    /* ---- the greeting and EHLO ---- */
    { .name = "a message step by step",
      .messages = { { .rcpts = "a@x b@x" } },
      .peer = { PLAIN, "250 Ok\r\n", "250 Ok\r\n", "250 Ok\r\n", "354 go\r\n",
                "250 2.0.0 taken as 1\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" CONTENT
              ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:2.0.0 taken as 1\nb@x=SENT:250:2.0.0 taken as 1\n"
             "close=SENT:221:bye\n" },
    { .name = "HELO where EHLO is unknown",
      .flags = P | B,
      .messages = { { .rcpts = "a@x" } },
      .peer = { "220-mx\r\n220 SMTP\r\n", "502-PIPELINING\r\n502 CHUNKING\r\n", "250 mx\r\n",
                "250 Ok\r\n", "250 Ok\r\n", "354 go\r\n", "250 Ok\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nHELO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT
              ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:Ok\nclose=SENT:221:bye\n" },
    { .name = "greeting refuses for good",
      .peer = { "554 5.7.1 go away\r\n" },
      .sent = "QUIT\r\n",
      .log = "close=FAILED:554:5.7.1 go away\n" },
    { .name = "greeting refuses for now",
      .peer = { "421 4.3.2 busy\r\n" },
      .sent = "",
      .log = "close=RETRY:421:4.3.2 busy\n" },
    { .name = "greeting of another protocol",
      .peer = { "SSH-2.0-OpenSSH_9.2\r\n" },
      .sent = "",
      .log = "close=RETRY:0:4.5.0 the next hop gave an answer that makes no sense while waiting "
             "for the greeting\n" },
    { .name = "EHLO refused for now",
      .peer = { "220 mx\r\n", "450 later\r\n" },
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "close=RETRY:450:later\n" },
    { .name = "HELO refused",
      .peer = { "220 mx\r\n", "550 no\r\n", "550 no\r\n" },
      .sent = "EHLO gw\r\nHELO gw\r\nQUIT\r\n",
      .log = "close=FAILED:550:no\n" },
    { .name = "354 to EHLO",
      .peer = { "220 mx\r\n", "354 go\r\n" },
      .sent = "EHLO gw\r\n",
      .log = "close=RETRY:0:4.5.0 the next hop gave an answer that makes no sense while sending "
             "EHLO\n" },
    { .name = "silent until closed",
      .finish = LOST,
      .sent = "",
      .log = "close=RETRY:0:4.4.2 connection closed while waiting for the greeting\n" },
    { .name = "good-bye while idle",
      .peer = { PLAIN, "421 idle too long\r\n" },
      .finish = STAY,
      .sent = "EHLO gw\r\n",
      .log = "close=RETRY:421:idle too long\n" },
    { .name = "good-bye in the read that makes ready",
      .messages = { { .rcpts = NULL } },
      .peer = { "220 mx\r\n", "250 mx\r\n421 idle too long\r\n" },
      .finish = STAY,
      .sent = "EHLO gw\r\n",
      .log = "close=RETRY:421:idle too long\n" },
    { .name = "an answer to nothing",
      .peer = { PLAIN, "250 Ok\r\n" },
      .finish = STAY,
      .sent = "EHLO gw\r\n",
      .log = "close=RETRY:0:4.5.0 the next hop answered what was not asked while waiting for the "
             "next message\n" },
    { .name = "closed instead of 221",
      .peer = { PLAIN },
      .finish = QUIT,
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "" },
    { .name = "421 for 221",
      .peer = { PLAIN, "421 whatever\r\n" },
      .finish = QUIT,
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "close=SENT:421:whatever\n" },

    /* ---- STARTTLS ---- */
    { .name = "STARTTLS, and EHLO again",
      .flags = P | SMTP_CLIENT_TLS,
      .messages = { { .rcpts = "a@x" } },
      .peer = { OFFERS("250-PIPELINING\r\n250 STARTTLS\r\n"), "220 go\r\n", "250 mx\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nSTARTTLS\r\nEHLO gw\r\nMAIL FROM:<s@x>\r\n",
      .log = "tls\n"
             "a@x=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n"
             "close=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n" },
    { .name = "STARTTLS refused, in clear then",
      .flags = SMTP_CLIENT_TLS,
      .peer = { OFFERS("250 STARTTLS\r\n"), "454 no\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nSTARTTLS\r\nQUIT\r\n",
      .log = "close=SENT:221:bye\n" },
    { .name = "STARTTLS required, not offered",
      .flags = SMTP_CLIENT_TLS_ONLY,
      .peer = { PLAIN },
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "close=RETRY:0:4.7.4 TLS is required and the next hop does not offer STARTTLS while "
             "sending EHLO\n" },
    { .name = "STARTTLS required, no EHLO",
      .flags = SMTP_CLIENT_TLS_ONLY,
      .peer = { "220 mx\r\n", "502 no\r\n" },
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "close=RETRY:0:4.7.4 TLS is required and the next hop does not offer STARTTLS while "
             "sending EHLO\n" },
    { .name = "STARTTLS required, refused",
      .flags = SMTP_CLIENT_TLS_ONLY,
      .peer = { OFFERS("250 STARTTLS\r\n"), "454 no\r\n" },
      .sent = "EHLO gw\r\nSTARTTLS\r\nQUIT\r\n",
      .log = "close=RETRY:0:4.7.4 TLS is required and the next hop refused STARTTLS with \"454 "
             "no\" while sending STARTTLS\n" },

    /* ---- pipelining ---- */
    { .name = "pipelined",
      .flags = P,
      .messages = { { .rcpts = "a@x b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n", "250 Ok\r\n", "221 b\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" CONTENT
              ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:Ok\nb@x=SENT:250:Ok\nclose=SENT:221:b\n" },
    { .name = "offered, not wanted",
      .messages = { { .rcpts = "a@x" } },
      .peer = { PIPELINING },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n"
             "close=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n" },
    { .name = "each recipient its own answer",
      .flags = P,
      .messages = { { .rcpts = "a@x b@x c@x d@x" } },
      .peer = { PIPELINING,
                "250 Ok\r\n450 4.2.1 later\r\n251 will forward\r\n550-5.1.1 no\r\n550 5.1.1 "
                "such user\r\n552 too many\r\n354 go\r\n",
                "250 Ok\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n"
              "RCPT TO:<d@x>\r\nDATA\r\n" CONTENT ".\r\nQUIT\r\n",
      .log = "a@x=RETRY:450:4.2.1 later\nb@x=SENT:250:Ok\nc@x=FAILED:550:5.1.1 no such user\n"
             "d@x=RETRY:552:too many\nclose=SENT:221:bye\n" },
    { .name = "nobody accepted, DATA refused",
      .flags = P,
      .messages = { { .rcpts = "a@x b@x" }, { .rcpts = "c@x" } },
      .peer = { PIPELINING, "250 Ok\r\n550 no\r\n450 later\r\n554 no recipients\r\n", "250 Ok\r\n",
                "250 Ok\r\n250 Ok\r\n354 go\r\n", "250 Ok\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nRSET\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n" CONTENT ".\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:no\nb@x=RETRY:450:later\nc@x=SENT:250:Ok\nclose=SENT:221:bye\n" },
    { .name = "nobody accepted and 354: a lone dot",
      .flags = P,
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n550 no\r\n354 go\r\n", "250 taken?\r\n",
                "250 Ok\r\n250 Ok\r\n354 go\r\n", "250 Ok\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n.\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" CONTENT ".\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:no\nb@x=SENT:250:Ok\nclose=SENT:221:bye\n" },
    { .name = "lost after a lone dot: no doubt",
      .flags = P,
      .messages = { { .rcpts = "a@x" } },
      .peer = { PIPELINING, "250 Ok\r\n450 no\r\n354 go\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n.\r\n",
      .log = "a@x=RETRY:450:no\n"
             "close=RETRY:0:4.4.2 connection closed while ending a message without recipients\n" },
    { .name = "MAIL refused, what follows is not read",
      .flags = P,
      .messages = { { .rcpts = "a@x b@x" }, { .rcpts = "c@x" } },
      .peer = { PIPELINING, "550 5.7.1 not you\r\n503 x\r\n250 y\r\n503 z\r\n",
                "451 4.3.0 later\r\n503 x\r\n354 z\r\n", "554 none\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n.\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:5.7.1 not you\nb@x=FAILED:550:5.7.1 not you\n"
             "c@x=RETRY:451:4.3.0 later\nclose=SENT:221:bye\n" },
    { .name = "MAIL refused, step by step",
      .messages = { { .rcpts = "a@x b@x" }, { .rcpts = "c@x" } },
      .peer = { PLAIN, "550 no\r\n", "450 no\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nMAIL FROM:<s@x>\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:no\nb@x=FAILED:550:no\nc@x=RETRY:450:no\nclose=SENT:221:bye\n" },
    { .name = "nobody accepted, step by step",
      .messages = { { .rcpts = "a@x b@x" } },
      .peer = { PLAIN, "250 Ok\r\n", "550 no\r\n", "450 no\r\n", "250 Ok\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRSET\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:no\nb@x=RETRY:450:no\nclose=SENT:221:bye\n" },
    { .name = "DATA refused",
      .flags = P,
      .messages = { { .rcpts = "a@x b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n550 no b\r\n451 4.3.0 later\r\n", "250 Ok\r\n",
                "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nRSET\r\n"
              "QUIT\r\n",
      .log = "a@x=RETRY:451:4.3.0 later\nb@x=FAILED:550:no b\nclose=SENT:221:bye\n" },
    { .name = "RSET refused ends the connection",
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x" } },
      .peer = { PLAIN, "250 Ok\r\n", "550 no\r\n", "500 what?\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRSET\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:no\nclose=FAILED:500:what?\n" },
    { .name = "250 to DATA makes no sense",
      .flags = P,
      .messages = { { .rcpts = "a@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n250 Ok\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
      .log = "a@x=RETRY:0:4.5.0 the next hop gave an answer that makes no sense while sending "
             "DATA\n"
             "close=RETRY:0:4.5.0 the next hop gave an answer that makes no sense while sending "
             "DATA\n" },
    { .name = "354 to RCPT makes no sense",
      .flags = P,
      .messages = { { .rcpts = "a@x" } },
      .peer = { PIPELINING, "250 Ok\r\n354 go\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
      .log = "a@x=RETRY:0:4.5.0 the next hop gave an answer that makes no sense while sending "
             "RCPT TO\n"
             "close=RETRY:0:4.5.0 the next hop gave an answer that makes no sense while sending "
             "RCPT TO\n" },

    /* ---- the content and its end ---- */
    { .name = "content is stuffed",
      .messages = { { .rcpts = "a@x", .content = ".\r\n..b" } },
      .peer = { PLAIN, "250 Ok\r\n", "250 Ok\r\n", "354 go\r\n", "550 5.7.1 spam\r\n",
                "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n..\r\n...b\r\n.\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:5.7.1 spam\nclose=SENT:221:bye\n" },
    { .name = "a bare LF in the content never goes out",
      .flags = P | A,
      .messages = { { .rcpts = "a@x", .content = "a\n.\r\nMAIL FROM:<evil@x>\r\n" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
      .log = "a@x=FAILED:0:5.6.0 bare\nclose=FAILED:0:5.6.0 bare\n" },
    { .name = "lost after the final dot: in doubt",
      .flags = P,
      .messages = { { .rcpts = "a@x b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n550 no\r\n354 go\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" CONTENT
              ".\r\n",
      .log = "a@x=RETRY?:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n"
             "b@x=FAILED:550:no\n"
             "close=RETRY:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n" },
    { .name = "nonsense after the final dot: in doubt",
      .flags = P,
      .messages = { { .rcpts = "a@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n", "250-Ok\r\n550 no\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n",
      .log =
          "a@x=RETRY?:0:4.5.0 the next hop gave an answer that makes no sense while sending end "
          "of data: message may be delivered more than once\n"
          "close=RETRY:0:4.5.0 the next hop gave an answer that makes no sense while sending end "
          "of data: message may be delivered more than once\n" },
    { .name = "421 after the final dot: no doubt",
      .flags = P,
      .messages = { { .rcpts = "a@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n", "421 4.3.2 going down\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n",
      .log = "a@x=RETRY:421:4.3.2 going down\nclose=RETRY:421:4.3.2 going down\n" },
    { .name = "421 between recipients",
      .flags = P,
      .messages = { { .rcpts = "a@x b@x c@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n550 no\r\n421 4.7.0 enough\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n"
              "DATA\r\n",
      .log = "a@x=RETRY:421:4.7.0 enough\nb@x=FAILED:550:no\nc@x=RETRY:421:4.7.0 enough\n"
             "close=RETRY:421:4.7.0 enough\n" },

    /* ---- more than one message ---- */
    { .name = "an idle connection that is gone: untried",
      .flags = P,
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n", "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n",
      .log = "a@x=SENT:250:Ok\n"
             "b@x=RETRY~:0:4.4.2 connection closed while sending MAIL FROM\n"
             "close=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n" },
    { .name = "421 to a second MAIL: untried",
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x" } },
      .peer = { PLAIN, "250 Ok\r\n", "250 Ok\r\n", "354 go\r\n", "250 Ok\r\n", "421 too many\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n"
              "MAIL FROM:<s@x>\r\n",
      .log = "a@x=SENT:250:Ok\nb@x=RETRY~:421:too many\nclose=RETRY:421:too many\n" },
    { .name = "the next MAIL in the write of the last dot",
      .flags = P | A,
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x" }, { .rcpts = "c@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n",
                "250 a\r\n250 Ok\r\n250 Ok\r\n354 go\r\n",
                "450 b\r\n250 Ok\r\n250 Ok\r\n354 go\r\n", "250 c\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" CONTENT ".\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n" CONTENT ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:a\nb@x=RETRY:450:b\nc@x=SENT:250:c\nclose=SENT:221:bye\n" },
    { .name = "lost with one ahead: that one is untried",
      .flags = P | A,
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x c@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n",
      .log = "a@x=RETRY?:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n"
             "b@x=RETRY~:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n"
             "c@x=RETRY~:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n"
             "close=RETRY:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n" },
    { .name = "lost when the first of two is answered",
      .flags = P | A,
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n", "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n",
      .log = "a@x=SENT:250:Ok\n"
             "b@x=RETRY~:0:4.4.2 connection closed while sending MAIL FROM\n"
             "close=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n" },
    { .name = "a peer that cannot be told ahead",
      .flags = P | A,
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x" }, { .rcpts = "c@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n",
                "250 a\r\n503 nested\r\n503 x\r\n503 x\r\n", "250 Ok\r\n",
                "250 Ok\r\n250 Ok\r\n354 go\r\n", "250 c\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nRSET\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n" CONTENT ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:a\nb@x=RETRY~:503:nested\nc@x=SENT:250:c\nclose=SENT:221:bye\n" },
    { .name = "one ahead that the peer cannot be given",
      .flags = P | A,
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x", .has_8bit = true }, { .rcpts = "c@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n", "250 a\r\n",
                "250 Ok\r\n250 Ok\r\n354 go\r\n", "250 c\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n" CONTENT ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:a\n"
             "b@x=FAILED:0:5.6.3 The message has 8-bit content and the next hop takes 7-bit only\n"
             "c@x=SENT:250:c\nclose=SENT:221:bye\n" },
    { .name = "our limit of messages",
      .flags = P | A,
      .max_messages = 1,
      .messages = { { .rcpts = "a@x" }, { .rcpts = "b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n354 go\r\n", "250 a\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n" CONTENT ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:a\nclose=SENT:221:bye\n" },
    { .name = "the peer's limit of messages and recipients",
      .flags = P | A,
      .messages = { { .rcpts = "a@x b@x c@x" }, { .rcpts = "d@x" } },
      .peer = { OFFERS("250-PIPELINING\r\n250 LIMITS MAILMAX=1 RCPTMAX=2\r\n"),
                "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n", "250 Ok\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" CONTENT
              ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:Ok\nb@x=SENT:250:Ok\n"
             "c@x=RETRY~:0:4.5.3 The next hop takes fewer recipients at once\n"
             "close=SENT:221:bye\n" },

    /* ---- BDAT ---- */
    { .name = "chunked: no stuffing, no dot",
      .flags = P | B,
      .messages = { { .rcpts = "a@x", .content = ".\r\n..b" } },
      .peer = { CHUNKING, "250 Ok\r\n250 Ok\r\n", "250 taken\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 6 LAST\r\n.\r\n..bQUIT\r\n",
      .log = "a@x=SENT:250:taken\nclose=SENT:221:bye\n" },
    { .name = "chunked, nobody accepted",
      .flags = P | B,
      .messages = { { .rcpts = "a@x" } },
      .peer = { CHUNKING, "250 Ok\r\n550 no\r\n", "250 Ok\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRSET\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:no\nclose=SENT:221:bye\n" },
    { .name = "chunked, refused at the end",
      .flags = P | B,
      .messages = { { .rcpts = "a@x", .content = "x\r\n" } },
      .peer = { CHUNKING, "250 Ok\r\n250 Ok\r\n", "452 4.3.1 full\r\n", "250 Ok\r\n", "221 b\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\nRSET\r\nQUIT\r\n",
      .log = "a@x=RETRY:452:4.3.1 full\nclose=SENT:221:b\n" },
    { .name = "chunked and eager: all in one write",
      .flags = P | B,
      .eager = 100,
      .messages = { { .rcpts = "a@x b@x", .content = "x\r\n" } },
      .peer = { CHUNKING, "250 Ok\r\n250 Ok\r\n550 no\r\n250 taken\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 3 LAST\r\nx\r\n"
              "QUIT\r\n",
      .log = "a@x=SENT:250:taken\nb@x=FAILED:550:no\nclose=SENT:221:bye\n" },
    { .name = "chunked and eager in vain",
      .flags = P | B,
      .eager = 100,
      .messages = { { .rcpts = "a@x", .content = "x\r\n" }, { .rcpts = "b@x", .content = "y" } },
      .peer = { CHUNKING, "250 Ok\r\n550 no\r\n503 nobody\r\n", "250 Ok\r\n",
                "450 later\r\n503 x\r\n503 x\r\n", "250 Ok\r\n", "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\nRSET\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<b@x>\r\nBDAT 1 LAST\r\nyRSET\r\nQUIT\r\n",
      .log = "a@x=FAILED:550:no\nb@x=RETRY:450:later\nclose=SENT:221:bye\n" },
    { .name = "chunked and eager, lost before an answer: in doubt",
      .flags = P | B,
      .eager = 100,
      .messages = { { .rcpts = "a@x", .content = "x\r\n" } },
      .peer = { CHUNKING },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\n",
      .log = "a@x=RETRY?:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n"
             "close=RETRY:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n" },
    { .name = "chunked and ahead",
      .flags = P | A | B,
      .messages = { { .rcpts = "a@x", .content = "x\r\n" }, { .rcpts = "b@x", .content = "y" } },
      .peer = { CHUNKING, "250 Ok\r\n250 Ok\r\n", "250 a\r\n250 Ok\r\n250 Ok\r\n", "250 b\r\n",
                "221 bye\r\n" },
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nBDAT 3 LAST\r\nx\r\n"
              "MAIL FROM:<s@x>\r\nRCPT TO:<b@x>\r\nBDAT 1 LAST\r\nyQUIT\r\n",
      .log = "a@x=SENT:250:a\nb@x=SENT:250:b\nclose=SENT:221:bye\n" },
    { .name = "chunked content larger than eager waits",
      .flags = P | B,
      .eager = 2,
      .messages = { { .rcpts = "a@x", .content = "x\r\n" } },
      .peer = { CHUNKING, "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending RCPT TO\n"
             "close=RETRY:0:4.4.2 connection closed while sending RCPT TO\n" },

    /* ---- LMTP ---- */
    { .name = "LMTP: an answer for each recipient",
      .flags = P | SMTP_CLIENT_LMTP,
      .messages = { { .rcpts = "a@x b@x c@x d@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n550 no\r\n250 Ok\r\n250 Ok\r\n354 go\r\n",
                "250 a\r\n452 4.2.2 c full\r\n", "250 d\r\n", "221 bye\r\n" },
      .sent = "LHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n"
              "RCPT TO:<d@x>\r\nDATA\r\n" CONTENT ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:a\nb@x=FAILED:550:no\nc@x=RETRY:452:4.2.2 c full\nd@x=SENT:250:d\n"
             "close=SENT:221:bye\n" },
    { .name = "LMTP in a chunk",
      .flags = P | B | SMTP_CLIENT_LMTP,
      .eager = 100,
      .messages = { { .rcpts = "a@x b@x c@x", .content = "x\r\n" } },
      .peer = { CHUNKING, "250 Ok\r\n250 Ok\r\n550 no\r\n250 Ok\r\n250 a\r\n", "450 c\r\n",
                "250 Ok\r\n", "221 bye\r\n" },
      .sent = "LHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n"
              "BDAT 3 LAST\r\nx\r\nRSET\r\nQUIT\r\n",
      .log = "a@x=SENT:250:a\nb@x=FAILED:550:no\nc@x=RETRY:450:c\nclose=SENT:221:bye\n" },
    { .name = "LMTP: nobody accepted and 354 all the same",
      .flags = P | SMTP_CLIENT_LMTP,
      .messages = { { .rcpts = "a@x" } },
      .peer = { PIPELINING, "250 Ok\r\n550 no\r\n354 go\r\n" },
      .sent = "LHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
      .log = "a@x=FAILED:550:no\n"
             "close=RETRY:0:4.5.0 the next hop gave an answer that makes no sense while sending "
             "DATA\n" },
    { .name = "LMTP: lost between answers",
      .flags = P | SMTP_CLIENT_LMTP,
      .messages = { { .rcpts = "a@x b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n", "250 a\r\n" },
      .finish = LOST,
      .sent = "LHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" CONTENT
              ".\r\n",
      .log = "a@x=SENT:250:a\n"
             "b@x=RETRY?:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n"
             "close=RETRY:0:4.4.2 connection closed while sending end of data: message may be "
             "delivered more than once\n" },
    { .name = "LMTP: good-bye in place of an answer",
      .flags = P | SMTP_CLIENT_LMTP,
      .messages = { { .rcpts = "a@x b@x c@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n",
                "250 a\r\n421 4.3.2 going down\r\n" },
      .sent = "LHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\n"
              "DATA\r\n" CONTENT ".\r\n",
      .log = "a@x=SENT:250:a\nb@x=RETRY:421:4.3.2 going down\nc@x=RETRY?:421:4.3.2 going down\n"
             "close=RETRY:421:4.3.2 going down\n" },
    { .name = "LMTP: good-bye before the end of data",
      .flags = P | SMTP_CLIENT_LMTP,
      .messages = { { .rcpts = "a@x b@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n250 Ok\r\n421 4.3.2 going down\r\n" },
      .sent = "LHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n",
      .log = "a@x=RETRY:421:4.3.2 going down\nb@x=RETRY:421:4.3.2 going down\n"
             "close=RETRY:421:4.3.2 going down\n" },
    { .name =
          "LMTP: the next message begins behind the dot, its answers come behind the last one's",
      .flags = P | A | SMTP_CLIENT_LMTP,
      .messages = { { .rcpts = "a@x b@x" }, { .rcpts = "c@x d@x" } },
      .peer = { PIPELINING, "250 Ok\r\n250 Ok\r\n250 Ok\r\n354 go\r\n",
                "250 a\r\n450 b\r\n250 Ok\r\n250 Ok\r\n550 no\r\n354 go\r\n", "250 c\r\n",
                "221 bye\r\n" },
      .sent = "LHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n" CONTENT
              ".\r\nMAIL FROM:<s@x>\r\nRCPT TO:<c@x>\r\nRCPT TO:<d@x>\r\nDATA\r\n" CONTENT
              ".\r\nQUIT\r\n",
      .log = "a@x=SENT:250:a\nb@x=RETRY:450:b\nc@x=SENT:250:c\nd@x=FAILED:550:no\n"
             "close=SENT:221:bye\n" },
    { .name = "LHLO unknown: there is nothing to fall back to",
      .flags = SMTP_CLIENT_LMTP,
      .peer = { "220 mx\r\n", "500 what?\r\n" },
      .sent = "LHLO gw\r\nQUIT\r\n",
      .log = "close=FAILED:500:what?\n" },

    /* ---- parameters, and what a peer cannot be given ---- */
    { .name = "parameters where they are offered",
      .messages = { { .rcpts = "a@x",
                      .mail = { .size = 5000,
                                .body = SMTP_BODY_8BITMIME,
                                .ret = SMTP_RET_HDRS,
                                .envid = STR("QQ+3D1"),
                                .smtputf8 = true },
                      .notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY,
                      .orcpt = "rfc822;o@x" } },
      .peer = { OFFERS("250-SIZE 5000\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 DSN\r\n"),
                "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x> SIZE=5000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+3D1"
              "\r\nRCPT TO:<a@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o@x\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending RCPT TO\n"
             "close=RETRY:0:4.4.2 connection closed while sending RCPT TO\n" },
    { .name = "a UTF-8 ORCPT for a peer without SMTPUTF8",
      .messages = { { .rcpts = "a@x",
                      .mail = { .smtputf8 = true },
                      .orcpt = "utf-8;\xCE\xB4\xF0\x9F\x90\x8E\\x{5C}@x" } },
      .peer = { OFFERS("250 DSN\r\n"), "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\n"
              "RCPT TO:<a@x> ORCPT=utf-8;\\x{3B4}\\x{1F40E}\\x{5C}@x\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending RCPT TO\n"
             "close=RETRY:0:4.4.2 connection closed while sending RCPT TO\n" },
    { .name = "no parameters where they are not",
      .messages = { { .rcpts = "a@x",
                      .mail = { .ret = SMTP_RET_FULL, .envid = STR("e"), .smtputf8 = true },
                      .notify = SMTP_NOTIFY_NEVER,
                      .orcpt = "rfc822;o@x" } },
      .peer = { PLAIN, "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending RCPT TO\n"
             "close=RETRY:0:4.4.2 connection closed while sending RCPT TO\n" },
    { .name = "larger than SIZE allows",
      .messages = { { .rcpts = "a@x b@x", .mail = { .size = 5001 } } },
      .peer = { OFFERS("250 SIZE 5000\r\n"), "221 bye\r\n" },
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "a@x=FAILED:0:5.3.4 The message is larger than the next hop allows\n"
             "b@x=FAILED:0:5.3.4 The message is larger than the next hop allows\n"
             "close=SENT:221:bye\n" },
    { .name = "8-bit content where it may go",
      .messages = { { .rcpts = "a@x", .has_8bit = true } },
      .peer = { OFFERS("250 8BITMIME\r\n") },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x> BODY=8BITMIME\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n"
             "close=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n" },
    { .name = "a UTF-8 sender without SMTPUTF8",
      .messages = { { .rcpts = "a@x", .from = "s\xc3\xb6@x" } },
      .peer = { OFFERS("250 8BITMIME\r\n"), "221 bye\r\n" },
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "a@x=FAILED:0:5.6.7 The message needs SMTPUTF8, which the next hop does not offer\n"
             "close=SENT:221:bye\n" },
    { .name = "a UTF-8 header without SMTPUTF8",
      .messages = { { .rcpts = "a@x",
                      .mail = { .smtputf8 = true },
                      .has_8bit = true,
                      .header_8bit = true } },
      .peer = { OFFERS("250 8BITMIME\r\n"), "221 bye\r\n" },
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "a@x=FAILED:0:5.6.7 The message needs SMTPUTF8, which the next hop does not offer\n"
             "close=SENT:221:bye\n" },
    { .name = "one UTF-8 recipient without SMTPUTF8 fails alone",
      .messages = { { .rcpts = "a@x \xc3\xb6@x", .mail = { .smtputf8 = true } } },
      .peer = { PLAIN, "250 Ok\r\n", "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending DATA\n"
             "\xc3\xb6@x=FAILED:0:5.6.7 The address needs SMTPUTF8, which the next hop does not "
             "offer\n"
             "close=RETRY:0:4.4.2 connection closed while sending DATA\n" },
    { .name = "a UTF-8 recipient where it may go",
      .messages = { { .rcpts = "\xc3\xb6@x" } },
      .peer = { OFFERS("250 SMTPUTF8\r\n") },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x> SMTPUTF8\r\n",
      .log = "\xc3\xb6@x=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n"
             "close=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n" },
    { .name = "addresses that would be commands",
      .messages = { { .rcpts = "a@x>\r\nDATA\r\n b@x>SIZE=1 \"c>d\"@x" } },
      .peer = { PLAIN, "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<\"c>d\"@x>\r\n",
      .log = "a@x>\r\nDATA\r\n=FAILED:0:5.1.3 The address cannot be used in a command\n"
             "b@x>SIZE=1=FAILED:0:5.1.3 The address cannot be used in a command\n"
             "\"c>d\"@x=RETRY:0:4.4.2 connection closed while sending RCPT TO\n"
             "close=RETRY:0:4.4.2 connection closed while sending RCPT TO\n" },
    { .name = "a sender that would be a command",
      .messages = { { .rcpts = "a@x", .from = "s@x>\nQUIT\n" } },
      .peer = { PLAIN, "221 bye\r\n" },
      .sent = "EHLO gw\r\nQUIT\r\n",
      .log = "a@x=FAILED:0:5.1.7 The sender's address cannot be used in a command\n"
             "close=SENT:221:bye\n" },
    { .name = "parameters that would be commands are left out",
      .messages = { { .rcpts = "a@x", .mail = { .envid = STR("a\r\nb") }, .orcpt = "rfc822;a b" } },
      .peer = { OFFERS("250 DSN\r\n"), "250 Ok\r\n" },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<s@x>\r\nRCPT TO:<a@x>\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending RCPT TO\n"
             "close=RETRY:0:4.4.2 connection closed while sending RCPT TO\n" },
    { .name = "the null sender",
      .messages = { { .rcpts = "a@x", .from = "" } },
      .peer = { PLAIN },
      .finish = LOST,
      .sent = "EHLO gw\r\nMAIL FROM:<>\r\n",
      .log = "a@x=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n"
             "close=RETRY:0:4.4.2 connection closed while sending MAIL FROM\n" },
};
